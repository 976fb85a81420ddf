"""Outputs by name: a file that appears only when it is complete, stdout, a pipe or a device."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

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
    """Checks, before any work, that an output can have that name.

    Raises:
        UsageError: If it is empty.
        OutputError: If a file is expected and it is a folder, or it is stdout and closed.
    """
    if not name:
        raise UsageError("an output has an empty name", f"name a {'folder' if folder else 'file'}")
    if name == STANDARD and sys.stdout is None:
        raise OutputError("stdout", "is closed", "name a file")
    if not folder and Path(name).is_dir():
        raise OutputError(name, "is a folder", "name a file")


def check_outputs(outputs: Mapping[str, str | None]) -> None:
    """Checks, before any work, that these outputs can be written and differ.

    Args:
        outputs: A name by the option that gives it; None where it is not given.

    Raises:
        UsageError: If one has an empty name, or two have the same.
        OutputError: If one cannot be written.
    """
    option_of: dict[str, str] = {}
    for option, name in outputs.items():
        if name is None:
            continue
        check_output(name)
        first = option_of.setdefault(name if name == STANDARD else os.path.realpath(name), option)
        if first != option:
            what = "write stdout" if name == STANDARD else "name one file"
            raise UsageError(f"{first} and {option} both {what}", "name another file for one of them")


@contextmanager
def open_stream(name: str) -> Iterator[BinaryIO]:
    """Stdout, a pipe or a device.

    Raises:
        OutputError: If it cannot be written.
    """
    if name == STANDARD:
        yield sys.stdout.buffer
        return
    try:
        file = Path(name).open("wb")  # noqa: SIM115
    except OSError as e:
        raise OutputError(name, f"cannot be written ({e.strerror})", "choose another output path") from e
    with file:
        yield file


@contextmanager
def replace_file(path: Path) -> Iterator[TextIO]:
    """Opens a new file beside `path` that replaces it when the block ends without an error.

    After an error the new file is kept, unless it is empty. A pipe or a device is written directly.

    Raises:
        OutputError: If the place cannot be written; raised before the block starts.
    """
    try:
        # Of a link, the target is replaced.
        target = Path(os.path.realpath(path))
        if target.is_dir():
            raise OutputError(path, "is a folder", "name a file")
        if target.exists() and not os.access(target, os.W_OK):
            raise OutputError(path, "is write-protected", "choose another output path")
        if _is_device(path):
            part, file = None, path.open("w", encoding="utf-8", newline="\n")
        else:
            descriptor, name = tempfile.mkstemp(".part", target.name[:100] + ".", target.parent)
            part = Path(name)
            # mkstemp lets only the owner read; a result gets the rights of any new file.
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


def refuse_to_write_over(output: str, *sources: Path | None) -> None:
    """Checks that the output is none of the files that are read.

    Raises:
        UsageError: If it is one.
    """
    path = Path(output)
    try:
        for source in sources:
            for written in (path, path.with_name(path.name + ".part")):
                if source and written.is_file() and source.exists() and written.samefile(source):
                    raise UsageError(f"{written} is both read and written", "name another output file")
    except OSError as e:
        raise OutputError(path, f"cannot be written ({e.strerror})", "choose another output path") from e


@contextmanager
def open_output(name: str, *sources: Path | None) -> Iterator[TextIO]:
    """The file of that name, which appears when it is complete, or stdout.

    Raises:
        OutputError: If it cannot be written; raised before the block starts.
        UsageError: If it is one of the files that are read.
    """
    if name == STANDARD:
        yield sys.stdout
        return
    refuse_to_write_over(name, *sources)
    with replace_file(Path(name)) as file:
        yield file


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Locks an output against other processes.

    Raises:
        OutputError: If another process has locked it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    target = Path(os.path.realpath(output))
    path = target.with_name(target.name + ".lock")
    hint = "choose a folder that exists and can be written"
    if target.is_dir():
        raise OutputError(output, "is a folder", "name a file")
    if not target.parent.is_dir():
        raise OutputError(output, "cannot be written (no such folder)", hint)
    if target.exists() and not os.access(target, os.W_OK):
        raise OutputError(output, "is write-protected", "choose another output path")
    try:
        with FileLock(path, timeout=0):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    except Timeout as e:
        problem = "is being written by another process"
        raise OutputError(output, problem, "wait for that, or name another output") from e
    except PermissionError as e:
        raise OutputError(output, f"cannot be written ({e.strerror})", hint) from e
