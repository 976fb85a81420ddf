"""The files of a frozen program, and their check against the checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from irr.calibrate.calibration import Calibration
from irr.errors import ProgramError
from irr.io.validation import explain
from irr.program.spec import ProgramSpec
from irr.statistics import Estimate

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
PACKAGES = ("chromadb", "sentence-transformers", "torch", "transformers")


class Scores(BaseModel):
    """The scores of a program when it was frozen: each metric's mean and 95 % interval over texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: int
    metrics: Mapping[str, Estimate]


class Manifest(BaseModel):
    """The content of `program.json`.

    Attributes:
        format: The version of the folder's layout.
        spec: The program without its label space and examples, which have files of their own.
        labels: The number of labels.
        examples: The number of examples.
        fingerprint: The label space's fingerprint.
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


def is_dropped(name: str) -> bool:
    """Whether a file manager left a file of that name."""
    return name in _DROPPED or name.startswith("._")


def names_in(folder: Path) -> set[str]:
    """The names of a frozen program's files in a folder.

    Raises:
        ProgramError: With its name, if another file is there.
        OSError: If the folder cannot be read.
    """
    names = set()
    for path in sorted(folder.iterdir()):
        if is_dropped(path.name):
            continue
        if path.name not in FILES or not path.is_file():
            raise ProgramError(f"{path} does not belong to a frozen program", "move it away")
        names.add(path.name)
    return names


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
    found = _format(raw)
    if found is not None and found > FORMAT:
        problem = f"{folder} was frozen by a newer irr (format {found}; this one reads {FORMAT})"
        raise ProgramError(problem, "upgrade irr")
    if sums != sums_of(contents):
        known = {line[66:] for line in sums.decode("utf-8", "replace").splitlines()}
        right = set(sums.splitlines())
        wrong = [
            name for name in sorted(contents.keys() | known) if _sum(contents.get(name), name) not in right
        ]
        what = folder / (wrong[0] if wrong else SUMS)
        raise ProgramError(f"{what} was changed after freezing", "restore the folder, or freeze it again")
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as e:
        raise ProgramError(f"{folder / MANIFEST}: {explain(e)[0]}", "upgrade irr, or freeze it again") from e


def read_calibration(folder: Path) -> Calibration | None:
    """Reads the calibration of a frozen program; None if it has none.

    Raises:
        ProgramError: If it is of a newer version.
    """
    path = folder / CALIBRATION
    if not path.exists():
        return None
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except ValidationError as e:
        raise ProgramError(f"{path}: {explain(e)[0]}", "upgrade irr, or calibrate again") from e


def _format(raw: bytes) -> int | None:
    """The format in a manifest that may be of any version; None if it has none."""
    try:
        found = json.loads(raw).get("format")
    except (ValueError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, int) else None


def sums_of(contents: Mapping[str, bytes]) -> bytes:
    """The checksums of these files, as `SHA256SUMS` holds them."""
    return b"".join(_sum(contents[name], name) + b"\n" for name in sorted(contents))


def _sum(content: bytes | None, name: str) -> bytes:
    return b"" if content is None else f"{hashlib.sha256(content).hexdigest()}  {name}".encode()
