"""Text files in and out: decoded line by line with row numbers, written beside and put in place at once."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO, TypeVar, cast

from pydantic import BaseModel, ValidationError

from irr.errors import InputError, OutputError

M = TypeVar("M", bound=BaseModel)


def ending(path: Path) -> str:
    """What says a file's format: the last part of its name, in lower case, `.gz` left out."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


@contextmanager
def open_bytes(path: Path, error: type[InputError]) -> Iterator[BinaryIO]:
    """Opens a file, or what is packed in a `.gz` file.

    Raises:
        InputError: As `error`, for a file that is missing or cannot be read to its end.
    """
    try:
        packed = path.suffix.lower() == ".gz"
        with cast(BinaryIO, gzip.open(path)) if packed else path.open("rb") as file:
            yield file
    except FileNotFoundError as e:
        raise error(path, "no such file", "check the path") from e
    except (gzip.BadGzipFile, EOFError, zlib.error) as e:
        raise error(path, f"not a whole gzip file ({e})", "fetch it again, or unpack it") from e
    except OSError as e:
        raise error(path, f"cannot be read ({e.strerror})", "name a readable file") from e


def read_lines(path: Path, error: type[InputError]) -> Iterator[tuple[int, str]]:
    """Yields the lines of a UTF-8 file, packed or not, with their row numbers, from 1, line ends kept.

    Lines end at a line feed only, so that the rarer Unicode separators may stand in a text.

    Raises:
        InputError: As `error`, for a file that is missing, cannot be read, or is not UTF-8.
    """
    with open_bytes(path, error) as file:
        for row, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8-sig" if row == 1 else "utf-8")
            except UnicodeDecodeError as e:
                raise error(path, "not UTF-8", "save the file with UTF-8 encoding", row) from e
            yield row, line


def parse_json_row(
    model: type[M], line: str, path: Path, row: int, error: type[InputError], repair: bool = False
) -> M:
    """Reads one JSONL row into `model`; what is wrong with it becomes one line with its row.

    Args:
        model: The row's form.
        line: The row.
        path: The file, for the error.
        row: Its number, for the error.
        error: The error to raise.
        repair: Whether half a surrogate pair (no Unicode, but some writers escape it) becomes a "?".
    """
    try:
        return model.model_validate_json(line)
    except ValidationError as e:
        if repair and (repaired := _without_surrogates(line)) != line:
            return parse_json_row(model, repaired, path, row, error)
        raise error(path, *_explain(e), row) from e


def _without_surrogates(line: str) -> str:
    try:
        return json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "replace").decode()
    except (ValueError, RecursionError):
        return line


def _explain(e: ValidationError) -> tuple[str, str]:
    first = e.errors(include_url=False, include_input=False)[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    match first["type"]:
        case "json_invalid":
            return "not JSON", "write one JSON object a line"
        case "model_type" | "model_attributes_type":
            return "not a JSON object", "write one JSON object a line"
        case "missing":
            return f'no "{key}"', f'add "{key}" to the row'
        case "string_too_short":
            return f'empty "{key}"', f'give "{key}" a value'
        case _:
            where = ".".join(str(part) for part in first["loc"])
            return f'"{where}": {first["msg"][0].lower()}{first["msg"][1:]}', "correct the value"


@contextmanager
def replace_file(path: Path) -> Iterator[TextIO]:
    """Opens `path` for writing so that it only ever holds a complete result.

    The text goes to a new file beside it that takes its place when the block ends well, and stays under its
    own name, unless it is empty, when it does not. What is no regular file (a pipe, a device) is written
    directly.

    Raises:
        OutputError: If the place cannot be written; raised before the block starts.
    """
    try:
        # A link stays a link: its target is what is replaced.
        target = Path(os.path.realpath(path))
        # What stands under these is a way to an open file, even where it looks like one.
        device = path.is_absolute() and path.parts[1] in ("dev", "proc")
        if target.is_dir():
            raise OutputError(path, "is a folder", "name a file")
        if target.exists() and not os.access(target, os.W_OK):
            raise OutputError(path, "is write-protected", "choose another output path")
        if device or (target.exists() and not target.is_file()):
            part, file = None, path.open("w", encoding="utf-8", newline="\n")
        else:
            descriptor, name = tempfile.mkstemp(".part", target.name[:100] + ".", target.parent)
            part = Path(name)
            # mkstemp gives no rights to others; a result has those that any new file has.
            part.chmod(0o666 & ~_umask())
            file = os.fdopen(descriptor, "w", encoding="utf-8", newline="\n")
    except OSError as e:
        hint = "choose a folder that exists and can be written"
        raise OutputError(path, f"cannot be written ({e.strerror})", hint) from e
    try:
        with file:
            yield file
        if part:
            part.replace(target)
    except BaseException:
        if part and part.exists() and not part.stat().st_size:
            part.unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
