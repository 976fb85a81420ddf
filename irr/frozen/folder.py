"""The folder of a frozen program: checked before any work, and filled in one step."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from irr.errors import ProgramError
from irr.frozen.manifest import FILES, LABELS, MANIFEST, is_dropped, names_in
from irr.io.outputs import sync_folder

_HERE = -100  # AT_FDCWD: paths are relative to the current folder
_EXCHANGE = 2  # RENAME_EXCHANGE on Linux, RENAME_SWAP on macOS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProgramFolder:
    """A folder that can hold a frozen program.

    Attributes:
        path: The folder, with links resolved; it does not exist, is empty, or holds a frozen program.
    """

    path: Path

    @classmethod
    def at(cls, folder: str | Path) -> ProgramFolder:
        """Checks a folder and leaves nothing in it.

        Raises:
            ProgramError: If it cannot be written, or holds something else than a frozen program.
        """
        found = cls(Path(os.path.realpath(folder)))
        try:
            here = Path.cwd()
            if found.path in (here, *here.parents):
                raise ProgramError(f'"{folder}" is or holds the current folder', "name a folder in it")
            found._holds_program()
            probe = _fresh(found.path)
            probe.mkdir()
            probe.rmdir()
        except OSError as e:
            hint = "name a folder whose parent exists and can be written"
            raise ProgramError(f"{folder} cannot be written ({e.strerror})", hint) from e
        return found

    def fill(self, contents: Mapping[str, bytes]) -> None:
        """Replaces the content of the folder by these files in one step.

        Raises:
            ProgramError: If that fails; the message names another folder that holds the files, if one does.
        """
        beside = _fresh(self.path)
        try:
            beside.mkdir()
            _write(beside, contents)
        except OSError as e:
            raise self._failed(str(e.strerror), _rescue(contents)) from e
        try:
            self._replace_by(beside)
        except (OSError, ProgramError) as e:
            raise self._failed(str(getattr(e, "strerror", e)), beside) from e

    def _holds_program(self) -> bool:
        """Whether the folder holds a frozen program.

        Raises:
            ProgramError: If it holds anything else.
        """
        found = {path.name for path in self.path.iterdir()} if self.path.exists() else set()
        if all(map(is_dropped, found)):
            return False
        if not {MANIFEST, LABELS} <= found:
            raise ProgramError(f"{self.path} exists and is not a frozen program", "name another folder")
        return bool(names_in(self.path))

    def _replace_by(self, beside: Path) -> None:
        if not self._holds_program():
            if self.path.exists():
                _remove(self.path)  # holds nothing but files of a file manager
            beside.rename(self.path)
        else:
            old = beside
            if not _exchange(beside, self.path):
                old = _fresh(self.path)
                self.path.rename(old)
                beside.rename(self.path)
            _remove(old)
        sync_folder(self.path.parent)

    def _failed(self, why: str, rescued: Path | None) -> ProgramError:
        if rescued:
            hint = "move it from there"
            return ProgramError(f"{self.path} cannot be written ({why}); the program is in {rescued}", hint)
        return ProgramError(f"{self.path} cannot be written ({why})", "make room, or name another folder")


def _fresh(path: Path) -> Path:
    """A new unique name beside `path`."""
    return path.with_name(f"{path.name[:100]}.{uuid.uuid4().hex[:12]}.part")


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    try:
        for name, content in contents.items():
            with (folder / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(folder)
    except BaseException:
        _remove(folder)
        raise


def _rescue(contents: Mapping[str, bytes]) -> Path | None:
    """A temporary folder with the program; None if none can be written."""
    with contextlib.suppress(OSError):
        folder = Path(tempfile.mkdtemp(prefix="irr-program-"))
        _write(folder, contents)
        return folder
    return None


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two folders in one atomic step; returns whether the system did."""
    library = ctypes.CDLL(None)
    paths = os.fsencode(one), os.fsencode(other)
    if hasattr(library, "renameat2"):
        return bool(library.renameat2(_HERE, paths[0], _HERE, paths[1], _EXCHANGE) == 0)
    return hasattr(library, "renamex_np") and bool(library.renamex_np(*paths, _EXCHANGE) == 0)


def _remove(folder: Path) -> None:
    """Removes a program's own files, and the folder if that leaves it empty."""
    try:
        for path in folder.iterdir():
            if path.name in FILES or is_dropped(path.name):
                path.unlink()
        folder.rmdir()
    except OSError as e:
        logger.warning("%s cannot be removed (%s)", folder, e.strerror)
