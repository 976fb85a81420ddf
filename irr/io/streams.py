"""Bytes by name: a file, a pipe or stdin, plain or compressed by gzip or zstd, within limits."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from irr.errors import InputError, MissingExtraError, TextsError

STANDARD = "-"
# A longer line is skipped piece by piece, so that memory stays bounded.
LONGEST_LINE = 16 * 2**20
# A longer line is taken to be endless, as of a device or a bomb.
_ENDLESS_LINE = 2 * 2**30
# Data that stays in memory may unpack to so many times its size; text has a ratio of 3 to 30, a bomb 1,000.
_UNPACKED_BYTES, _UNPACKED_TIMES = 64 * 2**20, 200
# A format that is parsed in one piece takes 5 (Turtle) to 7 times (JSON-LD) its size in memory.
_WHOLE_BYTES = 256 * 2**20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
COMPRESSED = (".gz", ".zst")


class Source:
    """An input that is read once, from start to end; faults are raised as `error`.

    Its first bytes say whether it is compressed. If the content is `held` in memory, a bomb is refused.
    """

    def __init__(
        self, name: str, file: io.BufferedReader, held: bool = False, error: type[InputError] = TextsError
    ) -> None:
        self.name = name
        self.error = error
        self._file = file
        self._stream: io.BufferedIOBase = file
        self._faults: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error)
        head = file.peek(len(_ZSTD))
        if head.startswith(_GZIP):
            self._stream = gzip.GzipFile(fileobj=file)
        elif head.startswith(_ZSTD):
            self._stream = _zstd(name).ZstdFile(file)
            self._faults += (_zstd(name).ZstdError,)
        self._size = Path(name).stat().st_size if Path(name).is_file() else 0
        self._held = held
        self._bounded = held and self._stream is not file
        self._unpacked = 0

    @property
    def share(self) -> float | None:
        """The share of a regular file that has been read, in [0, 1]; None for other inputs."""
        return min(1.0, self._file.tell() / self._size) if self._size else None

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` unpacked bytes; all that are left, within a limit, if it is negative."""
        if size < 0:
            content = self.read(_WHOLE_BYTES + 1)
            if len(content) > _WHOLE_BYTES:
                raise self.too_large(f"more than {_WHOLE_BYTES // 2**20:,} MiB")
            return content
        try:
            return self._counted(self._stream.read(size))
        except self._faults as e:
            raise self._broken(e) from e

    def too_large(self, what: str) -> InputError:
        """The error of a content that is too large to be parsed in one piece."""
        hint = "give it as JSONL, N-Triples or RDF/XML"
        return self.error(self.name, f"{what}, which is too much for this format", hint)

    def lines(self, longest: int = LONGEST_LINE) -> Iterator[bytes | None]:
        """Yields the lines, ends kept; None for one that is longer than `longest` bytes.

        Lines end at a line feed only, so that a text may hold other Unicode line separators.
        """
        number = 0
        try:
            while line := self._counted(self._stream.readline(longest)):
                number += 1
                if len(line) < longest or line.endswith(b"\n"):
                    yield line
                else:
                    self._pass_over(number, longest)
                    yield None
        except self._faults as e:
            raise self._broken(e, number + 1) from e

    def _pass_over(self, number: int, longest: int) -> None:
        passed, rest = 0, b""
        while not rest.endswith(b"\n"):
            if self._held or passed > _ENDLESS_LINE:
                raise self.error(self.name, f"longer than {longest:,} bytes", "write one row a line", number)
            if not (rest := self._stream.readline(longest)):
                return
            passed += len(rest)

    def _counted(self, content: bytes) -> bytes:
        self._unpacked += len(content)
        if self._bounded and self._unpacked > _UNPACKED_BYTES:
            self.refuse_bomb(self._unpacked, self._file.tell() if self._file.seekable() else 0)
        return content

    def refuse_bomb(self, unpacked: int, packed: int) -> None:
        """Raises the error of a content that grows too much, from `packed` to `unpacked` bytes."""
        if unpacked > max(_UNPACKED_BYTES, _UNPACKED_TIMES * packed):
            problem = f"unpacks to more than {_UNPACKED_TIMES} times its size"
            raise self.error(self.name, problem, "unpack it, and look at what it holds")

    def _broken(self, e: Exception, row: int | None = None) -> InputError:
        if isinstance(e, OSError) and not isinstance(e, gzip.BadGzipFile):
            return self.error(self.name, f"cannot be read ({e.strerror})", "name a readable file", row)
        hint = "compress it again, or give it as it is"
        return self.error(self.name, f"the compressed data breaks off ({e})", hint, row)


@contextmanager
def open_source(
    name: str | Path, held: bool = False, error: type[InputError] = TextsError
) -> Iterator[Source]:
    """The input of that name as a `Source`; `-` is stdin. A missing file raises `error`."""
    if name == STANDARD:
        if sys.stdin is None:
            raise error("stdin", "is closed", "name a file")
        yield Source("stdin", cast(io.BufferedReader, sys.stdin.buffer), held, error)
        return
    with ExitStack() as stack:
        try:
            source = Source(str(name), stack.enter_context(Path(name).open("rb")), held, error)
        except FileNotFoundError as e:
            raise error(name, "no such file", "check the path") from e
        except (OSError, ValueError) as e:
            reason = getattr(e, "strerror", None) or e
            raise error(name, f"cannot be read ({reason})", "name a readable file") from e
        yield source


def read_lines(path: Path, error: type[InputError]) -> Iterator[tuple[int, str]]:
    """Yields the lines of a UTF-8 file, compressed or not, with their row numbers, from 1, line ends kept."""
    with open_source(path, held=True, error=error) as source:
        for row, raw in enumerate(source.lines(), 1):
            try:
                line = (raw or b"").decode("utf-8-sig" if row == 1 else "utf-8")
            except UnicodeDecodeError as e:
                raise error(path, "not UTF-8", "save the file with UTF-8 encoding", row) from e
            yield row, line


def ending(path: str | Path) -> str:
    """The ending that says a file's format, in lower case, without `.gz` and `.zst`."""
    path = Path(path)
    return Path(path.stem if path.suffix.lower() in COMPRESSED else path.name).suffix.lower()


@contextmanager
def compressed(target: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    """A stream to `target`, compressed if the ending of `path` says so; `target` stays open."""
    packed: Any
    if path.suffix == ".gz":
        # Without a time in the header, the same rows give the same bytes.
        packed = gzip.GzipFile(fileobj=target, mode="wb", compresslevel=6, mtime=0, filename="")
    elif path.suffix == ".zst":
        packed = _zstd(path).ZstdFile(target, "w")
    else:
        packed = contextlib.nullcontext(target)
    with packed as stream:
        yield stream


def import_extra(package: str, name: str | Path) -> Any:
    """A package of the extra `tables`, without which `name` raises a MissingExtraError."""
    try:
        return importlib.import_module(package)
    except ImportError as e:
        problem = f"{name} needs {package.partition('.parquet')[0]}, which is not installed"
        raise MissingExtraError(problem, "pip install 'irr[tables]'") from e


def _zstd(name: str | Path = "zstd") -> Any:
    return import_extra("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd", name)
