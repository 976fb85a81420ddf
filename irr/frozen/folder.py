"""The folder of a frozen program: its files, their check, and their replacement in one step."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import logging
import os
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from irr.calibrate.calibration import Calibration
from irr.errors import ProgramError
from irr.io.outputs import sync_folder
from irr.io.validation import explain
from irr.program.spec import ProgramSpec
from irr.statistics import Estimate

_HERE = -100  # AT_FDCWD: paths are relative to the current folder
_EXCHANGE = 2  # RENAME_EXCHANGE on Linux, RENAME_SWAP on macOS

logger = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "program.json"
LABELS = "labels.jsonl"
EXAMPLES = "examples.jsonl"
TRIALS = "trials.jsonl"
CALIBRATION = "calibration.json"
# In the format of `sha256sum`.
SUMS = "SHA256SUMS"
FILES = frozenset({MANIFEST, LABELS, EXAMPLES, TRIALS, CALIBRATION, SUMS})
# Files that file managers leave in folders.
_DROPPED = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", ".directory"})


class Scores(BaseModel):
    """The scores of a program when it was frozen: each metric's mean and 95 % interval over texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: int
    metrics: Mapping[str, Estimate]


class Manifest(BaseModel):
    """The content of `program.json`.

    Attributes:
        format: The version of the folder's layout.
        spec: The program without its label space and examples, which have files of their own; `labels` and
            `examples` are their numbers.
        digest: The program's digest without its calibration: programs with one digest rank alike.
        scores: Its scores by the name of what was scored.
        optimized: The history of its optimization.
        versions: The versions of irr and its packages that froze it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    spec: ProgramSpec
    labels: int
    examples: int = 0
    fingerprint: str
    digest: str
    scores: Mapping[str, Scores] = {}
    optimized: Mapping[str, str | int] = {}
    versions: Mapping[str, str]


def _is_dropped(name: str) -> bool:
    return name in _DROPPED or name.startswith("._")


def names_in(folder: Path) -> set[str]:
    """The names of a frozen program's files in a folder; no other file may be there."""
    paths = sorted(path for path in folder.iterdir() if not _is_dropped(path.name))
    for path in paths:
        if path.name not in FILES or not path.is_file():
            raise ProgramError(f"{path} does not belong to a frozen program", "move it away")
    return {path.name for path in paths}


def read_manifest(folder: str | Path) -> Manifest:
    """Reads the manifest of a frozen program after a check of all its files.

    Raises:
        ProgramError: If the folder holds no program, one of another version, or a changed one.
    """
    folder = Path(folder)
    try:
        if not (folder / MANIFEST).is_file():
            raise ProgramError(f"{folder} holds no frozen program", f"{MANIFEST} must be in it")
        contents = {name: (folder / name).read_bytes() for name in names_in(folder)}
    except OSError as e:
        raise ProgramError(f"{folder} cannot be read ({e.strerror})", "name another folder") from e
    raw, sums = contents[MANIFEST], contents.pop(SUMS, b"")
    try:
        found = json.loads(raw).get("format")
    except (ValueError, AttributeError, RecursionError):
        found = None
    if isinstance(found, int) and found > FORMAT:
        problem = f"{folder} was frozen by a newer irr (format {found}; this one reads {FORMAT})"
        raise ProgramError(problem, "upgrade irr")
    if sums != sums_of(contents):
        known = {line[66:]: line for line in sums.decode("utf-8", "replace").splitlines()}
        here = {line[66:]: line for line in sums_of(contents).decode().splitlines()}
        wrong = (name for name in sorted(known | here) if known.get(name) != here.get(name))
        what = folder / next(wrong, SUMS)
        raise ProgramError(f"{what} was changed after freezing", "restore the folder, or freeze it again")
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as e:
        raise ProgramError(f"{folder / MANIFEST}: {explain(e)[0]}", "upgrade irr, or freeze it again") from e


def read_calibration(folder: Path) -> Calibration | None:
    """Reads the calibration of a frozen program; None if it has none."""
    path = folder / CALIBRATION
    if not path.exists():
        return None
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except ValidationError as e:
        raise ProgramError(f"{path}: {explain(e)[0]}", "upgrade irr, or calibrate again") from e


def sums_of(contents: Mapping[str, bytes]) -> bytes:
    """The checksums of these files, as `SHA256SUMS` holds them."""
    lines = (f"{hashlib.sha256(contents[name]).hexdigest()}  {name}\n" for name in sorted(contents))
    return "".join(lines).encode()


@dataclass(frozen=True)
class ProgramFolder:
    """A folder, with links resolved, that does not exist, is empty, or holds a frozen program."""

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
        written = None
        try:
            beside.mkdir()
            _write(beside, contents)
            written = beside
            self._replace_by(beside)
        except (OSError, ProgramError) as e:
            problem = f"{self.path} cannot be written ({getattr(e, 'strerror', e)})"
            if rescued := written or _rescue(contents):
                raise ProgramError(f"{problem}; the program is in {rescued}", "move it from there") from e
            raise ProgramError(problem, "make room, or name another folder") from e

    def _holds_program(self) -> bool:
        """Whether the folder holds a frozen program.

        Raises:
            ProgramError: If it holds anything else.
        """
        found = {path.name for path in self.path.iterdir()} if self.path.exists() else set()
        if all(map(_is_dropped, found)):
            return False
        if not {MANIFEST, LABELS} <= found:
            raise ProgramError(f"{self.path} exists and is not a frozen program", "name another folder")
        return bool(names_in(self.path))

    def _replace_by(self, beside: Path) -> None:
        if not self._holds_program():
            if self.path.exists():
                _remove(self.path)  # holds nothing but files of a file manager
            beside.rename(self.path)
        elif _exchange(beside, self.path):
            _remove(beside)
        else:
            old = _fresh(self.path)
            self.path.rename(old)
            beside.rename(self.path)
            _remove(old)
        sync_folder(self.path.parent)


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
            if path.name in FILES or _is_dropped(path.name):
                path.unlink()
        folder.rmdir()
    except OSError as e:
        logger.warning("%s cannot be removed (%s)", folder, e.strerror)
