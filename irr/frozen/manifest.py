"""What a frozen program's folder holds, and whether it is what was frozen, byte by byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from irr.calibrate.calibration import Calibration
from irr.errors import ProgramError
from irr.evaluate.metrics import Estimate
from irr.io.validation import explain
from irr.recipe import Recipe

FORMAT = 2
MANIFEST = "program.json"
LABELS = "labels.jsonl"
EXAMPLES = "examples.jsonl"
TRIALS = "trials.jsonl"
CALIBRATION = "calibration.json"
# As `sha256sum --check` reads it.
SUMS = "SHA256SUMS"
FILES = frozenset({MANIFEST, LABELS, EXAMPLES, TRIALS, CALIBRATION, SUMS})
# What file managers leave in every folder that they show.
_DROPPED = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", ".directory"})
PACKAGES = ("chromadb", "sentence-transformers", "torch", "transformers")


class Scores(BaseModel):
    """What a program scored when it was frozen: each metric's mean and 95 % interval over some texts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    texts: int
    metrics: Mapping[str, Estimate]


class Manifest(BaseModel):
    """What `program.json` holds.

    Attributes:
        format: The version of the folder's layout.
        recipe: The program, without its label space and examples, which have files of their own.
        labels: How many labels there are.
        examples: How many examples there are.
        fingerprint: The label space's.
        digest: The program's, its calibration left out: programs of one digest rank alike.
        scores: What it scored when it was frozen, by what it was scored on.
        optimized: How it came about, where it was optimized.
        versions: What it was frozen with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    recipe: Recipe
    labels: int
    examples: int = 0
    fingerprint: str
    digest: str
    scores: Mapping[str, Scores] = {}
    optimized: Mapping[str, str | int] = {}
    versions: Mapping[str, str]


def is_dropped(name: str) -> bool:
    """Whether a file of that name was left by the system, and says nothing."""
    return name in _DROPPED or name.startswith("._")


def names_in(folder: Path) -> set[str]:
    """The names of the files of a frozen program in a folder.

    Raises:
        ProgramError: With its name, if something does not belong there.
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
    """Reads what a frozen program is, once every byte of it is known to be what was frozen.

    Raises:
        ProgramError: If the folder holds no program, one of a newer version, or not what was frozen.
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
    if found is not None and found < FORMAT:
        raise ProgramError(f"{folder} was frozen by an older irr (format {found})", "freeze it again")
    if sums != sums_of(contents):
        known = {line[66:] for line in sums.decode("utf-8", "replace").splitlines()}
        right = set(sums.splitlines())
        wrong = [
            name for name in sorted(contents.keys() | known) if _sum(contents.get(name), name) not in right
        ]
        what = folder / (wrong[0] if wrong else SUMS)
        raise ProgramError(f"{what} is not what was frozen", "restore the folder, or freeze it again")
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as e:
        raise ProgramError(f"{folder / MANIFEST}: {explain(e)[0]}", "upgrade irr, or freeze it again") from e


def read_calibration(folder: Path) -> Calibration | None:
    """Reads the calibration of a frozen program; None if it was not calibrated.

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
