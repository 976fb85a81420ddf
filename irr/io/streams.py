"""Streams of lines by name: a file, a pipe or stdin, as it is or compressed by gzip or zstd."""

from __future__ import annotations

import gzip
import io
import shutil
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from irr.errors import TextsError

STANDARD = "-"
# A longer line is passed over without being held: memory stays flat whatever comes in.
LONGEST_LINE = 16 * 2**20
_Stream: TypeAlias = io.BufferedIOBase
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class Source:
    """An input that is read once, from its beginning to its end.

    Args:
        name: What it is called in messages.
        file: Its bytes, as they lie on the disk or come in.
    """

    def __init__(self, name: str, file: io.BufferedReader) -> None:
        self.name = name
        self._file = file
        self._stream = _decompressed(file)
        self._size = Path(name).stat().st_size if Path(name).is_file() else 0

    @property
    def share(self) -> float | None:
        """How much of a regular file has been read, in [0, 1]; None of what has no known end."""
        return min(1.0, self._file.tell() / self._size) if self._size else None

    def lines(self, longest: int = LONGEST_LINE) -> Iterator[bytes | None]:
        """Yields the lines, ends kept; None for one that is longer than `longest` bytes.

        Lines end at a line feed only, so that the rarer Unicode separators may stand in a text.

        Raises:
            TextsError: If the bytes cannot be read, or decompressed.
        """
        number = 0
        try:
            while line := self._stream.readline(longest):
                number += 1
                if len(line) < longest or line.endswith(b"\n"):
                    yield line
                    continue
                while line and not line.endswith(b"\n"):
                    line = self._stream.readline(longest)
                yield None
        except _broken() as e:
            hint = "compress it again, or give it as it is"
            raise TextsError(self.name, f"the compressed data breaks off ({e})", hint, number + 1) from e
        except OSError as e:
            problem = f"cannot be read ({e.strerror})"
            raise TextsError(self.name, problem, "name a readable file", number + 1) from e


@contextmanager
def open_source(name: str) -> Iterator[Source]:
    """The input of that name; `-` is stdin. What compressed it is known by its first bytes.

    Raises:
        TextsError: If it is missing or cannot be read.
    """
    if name == STANDARD:
        if sys.stdin is None:
            raise TextsError("stdin", "is closed", "name a file")
        yield Source("stdin", cast(io.BufferedReader, sys.stdin.buffer))
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115
    except FileNotFoundError as e:
        raise TextsError(name, "no such file", "check the path") from e
    except OSError as e:
        raise TextsError(name, f"cannot be read ({e.strerror})", "name a readable file") from e
    with file:
        yield Source(name, file)


def is_compressed(path: Path) -> bool:
    """Whether what is written there is to be compressed."""
    return path.suffix in (".gz", ".zst")


def compress(source: Path, target: BinaryIO, suffix: str) -> None:
    """Writes the bytes of `source` to `target`, compressed as the suffix says."""
    with source.open("rb") as plain, _compressor(target, suffix) as packed:
        shutil.copyfileobj(plain, packed, 2**20)


def _decompressed(file: io.BufferedReader) -> _Stream:
    head = file.peek(len(_ZSTD))
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file)
    if head.startswith(_ZSTD):
        stream: _Stream = _zstd().ZstdFile(file)
        return stream
    return file


def _compressor(target: BinaryIO, suffix: str) -> _Stream:
    if suffix == ".gz":
        # No time in the header: the same answers give the same bytes.
        return gzip.GzipFile(fileobj=target, mode="wb", compresslevel=6, mtime=0, filename="")
    stream: _Stream = _zstd().ZstdFile(target, "w")
    return stream


def _broken() -> tuple[type[Exception], ...]:
    return (EOFError, zlib.error, gzip.BadGzipFile, _zstd().ZstdError)


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
