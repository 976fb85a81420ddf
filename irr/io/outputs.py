"""Outputs by name: files that appear when they are complete, logs that survive a crash, stdout and pipes."""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from irr.errors import OutputError, UsageError
from irr.io.streams import STANDARD


def is_stream(name: str) -> bool:
    """Whether an output is stdout, a pipe or a device, which have no folder of their own."""
    return name == STANDARD or _is_device(Path(name))


def _is_device(path: Path) -> bool:
    # Files under these two stand for open files.
    if path.is_absolute() and path.parts[1] in ("dev", "proc"):
        return True
    return path.exists() and not path.is_file() and not path.is_dir()


def check_output(name: str, folder: bool = False) -> None:
    """Raises an error, before any work, for an empty name, a folder in a file's place, or a closed stdout."""
    if not name:
        raise UsageError("an output has an empty name", f"name a {'folder' if folder else 'file'}")
    if name == STANDARD and sys.stdout is None:
        raise OutputError("stdout", "is closed", "name a file")
    if not folder and Path(name).is_dir():
        raise OutputError(name, "is a folder", "name a file")


def check_outputs(outputs: Mapping[str, str | None]) -> None:
    """Checks, before any work, that outputs, by the options that name them, can be written and differ."""
    option_of: dict[str, str] = {}
    for option, name in outputs.items():
        if name is None:
            continue
        check_output(name)
        first = option_of.setdefault(name if name == STANDARD else os.path.realpath(name), option)
        if first != option:
            what = "write stdout" if name == STANDARD else "name one file"
            raise UsageError(f"{first} and {option} both {what}", "name another file for one of them")


def refuse_to_write_over(output: str, *sources: Path | None) -> None:
    """Raises a UsageError if the output is one of the files that are read."""
    path = Path(output)
    with _explained(path):
        for source in sources:
            for written in (path, path.with_name(path.name + ".part")):
                if source and written.is_file() and source.exists() and written.samefile(source):
                    raise UsageError(f"{written} is both read and written", "name another output file")


@contextmanager
def open_output(name: str, *sources: Path | None) -> Iterator[TextIO]:
    """The file of that name, which appears when it is complete, a device or stdout; `sources` are refused."""
    if name == STANDARD:
        yield sys.stdout
        return
    refuse_to_write_over(name, *sources)
    with replace_file(Path(name)) as file:
        yield file


@contextmanager
def replace_file(path: Path) -> Iterator[TextIO]:
    """Opens a new file beside `path` that replaces it when the block ends without an error.

    After an error the new file is kept, unless it is empty. A pipe or a device is written directly. A place
    that cannot be written raises an OutputError before the block starts.
    """
    part = None
    with _explained(path):
        if not _is_device(path):
            target = _target(path)
            part = target.with_name(f"{target.name[:100]}.{uuid.uuid4().hex[:12]}.part")
        file = (part or path).open("x" if part else "w", encoding="utf-8", newline="\n")
    try:
        with file:
            yield file
            file.flush()
            if part:
                os.fsync(file.fileno())
        if part:
            part.replace(target)
    except BaseException:
        if part and part.exists() and not part.stat().st_size:
            part.unlink()
        raise


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Locks an output; raises an OutputError if another process has locked it, or it cannot be written."""
    from filelock import FileLock, Timeout

    target = _target(output)
    lock = target.with_name(target.name + ".lock")
    try:
        with FileLock(lock, timeout=0):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
    except Timeout as e:
        problem = "is being written by another process"
        raise OutputError(output, problem, "wait for that, or name another output") from e
    except PermissionError as e:
        raise _unwritable(output, e.strerror) from e


def _target(path: Path) -> Path:
    """The file that an output replaces: of a link, the one that it leads to."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OutputError(path, "is a folder", "name a file")
    if target.exists() and not os.access(target, os.W_OK):
        raise OutputError(path, "is write-protected", "choose another output path")
    if not target.parent.is_dir():
        raise _unwritable(path, "no such folder")
    return target


@contextmanager
def _explained(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise _unwritable(path, e.strerror) from e


def _unwritable(path: str | Path, reason: str | None) -> OutputError:
    return OutputError(path, f"cannot be written ({reason})", "choose a folder that can be written")


def append_line(path: Path, line: bytes) -> None:
    """Appends a line with its end, which is on the disk when this returns; a torn last line is cut away."""
    is_new = not path.exists()
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":
                file.seek(0)
                file.truncate(len(whole_lines(file.read())))
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_folder(path.parent)


def whole_lines(content: bytes) -> bytes:
    """The lines of a content, without a last one that has no end."""
    return content[: content.rfind(b"\n") + 1]


def sync_folder(folder: Path) -> None:
    """Writes the names of a folder's files through to the disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
