"""JSON rows in, and files out that appear complete or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

from pydantic import BaseModel, ValidationError

from irr.errors import InputError, OutputError
from irr.io.validation import explain

M = TypeVar("M", bound=BaseModel)


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
        raise error(path, *explain(e), row) from e


def _without_surrogates(line: str) -> str:
    try:
        return json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "replace").decode()
    except (ValueError, RecursionError):
        return line


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
