"""What a frozen program's folder holds, and whether it is what was frozen, byte by byte."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from irr.errors import ProgramError
from irr.evaluate.metrics import Estimate
from irr.recipe import Recipe

FORMAT = 2
MANIFEST = "program.json"
LABELS = "labels.jsonl"
EXAMPLES = "examples.jsonl"
TRIALS = "trials.jsonl"
# As `sha256sum --check` reads it.
SUMS = "SHA256SUMS"
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
        digest: The program's: programs of one digest answer alike.
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


def check_place(folder: Path) -> bool:
    """Whether a frozen program stands there already.

    Raises:
        ProgramError: If something else does.
    """
    try:
        there = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as e:
        raise ProgramError(f"{folder} cannot be read ({e.strerror})", "name another folder") from e
    if there and not {MANIFEST, LABELS} <= there <= {MANIFEST, LABELS, EXAMPLES, TRIALS, SUMS}:
        raise ProgramError(f"{folder} exists and is no frozen program, or holds more", "name another folder")
    return folder.exists()


def read_manifest(folder: str | Path) -> Manifest:
    """Reads what a frozen program is, once every byte of it is known to be what was frozen.

    Raises:
        ProgramError: If the folder holds no program, one of a newer version, or not what was frozen.
    """
    folder = Path(folder)
    try:
        raw = (folder / MANIFEST).read_bytes()
        there = {path.name for path in folder.iterdir()} - {SUMS}
        contents = {name: (folder / name).read_bytes() for name in there}
        sums = (folder / SUMS).read_bytes() if (folder / SUMS).exists() else b""
    except OSError as e:
        raise ProgramError(f"{folder} holds no frozen program", f"{MANIFEST} must be in it") from e
    found = _format(raw)
    if found is not None and found > FORMAT:
        problem = f"{folder} was frozen by a newer irr (format {found}; this one reads {FORMAT})"
        raise ProgramError(problem, "upgrade irr")
    if found is not None and found < FORMAT:
        raise ProgramError(f"{folder} was frozen by an older irr (format {found})", "freeze it again")
    if sums != sums_of(contents):
        known = {line[66:] for line in sums.decode("utf-8", "replace").splitlines()}
        right = set(sums.splitlines())
        wrong = [name for name in sorted(there | known) if _sum(contents.get(name), name) not in right]
        what = folder / (wrong[0] if wrong else SUMS)
        raise ProgramError(f"{what} is not what was frozen", "restore the folder, or freeze it again")
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as e:
        where = ".".join(str(part) for part in e.errors()[0]["loc"]) or "content"
        raise ProgramError(
            f"{folder / MANIFEST}: {where} is not what this version reads", "upgrade irr"
        ) from e


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
