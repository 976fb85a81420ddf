"""Lines that survive a crash: appended, synchronized, and whole, since what a kill tore off is cut away."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

# Bytes that are looked at together for the end of a line.
_BLOCK = 64 * 2**10


class LineAppender:
    """Appends lines to a file, whose last line is whole before the first one is appended.

    Args:
        path: The file; it is made if it is not there.
        end: Where the last line to keep ends; the last whole one if None.
    """

    def __init__(self, path: Path, end: int | None = None) -> None:
        new = not path.exists()
        self._file = path.open("a+b")
        end = _end_of_lines(self._file) if end is None else end
        if self._file.seek(0, os.SEEK_END) != end:
            self._file.truncate(end)
        if new:
            sync_folder(path.parent)

    def append(self, line: bytes) -> None:
        """Appends a line with its end; a kill loses it no more."""
        self._file.write(line)
        self._file.flush()

    def sync(self) -> None:
        """Writes through to the disk; a power cut loses nothing that was appended."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> LineAppender:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def append_line(path: Path, line: bytes) -> None:
    """Appends a line with its end, which is on the disk when this returns."""
    with LineAppender(path) as file:
        file.append(line)
        file.sync()


def whole_lines(content: bytes) -> bytes:
    """The lines of a content, without one that a kill tore off."""
    return content[: content.rfind(b"\n") + 1]


def sync_folder(folder: Path) -> None:
    """Writes through to the disk which files a folder holds, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _end_of_lines(file: BinaryIO) -> int:
    """Where the last whole line of a file ends."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        if whole := whole_lines(file.read(end - start)):
            return start + len(whole)
        end = start
    return 0
