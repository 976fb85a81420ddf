"""Freeze and load: a program as a folder of JSON that gives the same answers anywhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from irr.errors import ProgramError
from irr.index import Progress
from irr.labels import LabelSpace
from irr.lm import LanguageModel
from irr.pipeline import InferRetrieveRank, build
from irr.prompts import TaskPack
from irr.settings import Settings

_MANIFEST = "program.json"
_LABELS = "labels.jsonl"


class _Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    encoder: str
    fingerprint: str
    settings: Settings


def freeze(program: InferRetrieveRank, folder: str | Path) -> None:
    """Writes a program: its label space, its settings and its encoder's name. No secret, no pickle.

    The folder appears complete or not at all; a frozen program that stands there is replaced.

    Raises:
        ProgramError: If something else stands there, it cannot be written, or the program has a ranker or an
            encoder of the caller's own.
    """
    folder = Path(folder)
    try:
        there = {path.name for path in folder.iterdir()} if folder.exists() else None
    except OSError as e:
        raise ProgramError(f"{folder} cannot be read ({e.strerror})", "name another folder") from e
    if there is not None and there != {_MANIFEST, _LABELS}:
        raise ProgramError(f"{folder} exists and is no frozen program, or holds more", "name another folder")
    if program.custom:
        raise ProgramError(f"a program with {program.custom} cannot be frozen", "freeze one without")
    manifest = _Manifest(
        encoder=program.encoder.name, fingerprint=program.space.fingerprint, settings=program.settings
    )
    beside = folder.with_name(folder.name + ".part")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        (beside / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
        with (beside / _LABELS).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(label.model_dump_json(exclude_defaults=True) + "\n" for label in program.space)
        if there is None:
            beside.rename(folder)
        else:
            aside = folder.with_name(folder.name + ".old")
            folder.rename(aside)
            beside.rename(folder)
            shutil.rmtree(aside)
    except OSError as e:
        raise ProgramError(f"{folder} cannot be written ({e.strerror})", "name another folder") from e


def load(
    folder: str | Path,
    *,
    infer_lm: LanguageModel | None = None,
    rank_lm: LanguageModel | None = None,
    task: TaskPack | str = "default",
    index_folder: str | Path | None = None,
    progress: Progress | None = None,
) -> InferRetrieveRank:
    """Loads a frozen program; its index is made on the first call and reused afterwards.

    Args:
        folder: What `freeze` wrote.
        infer_lm: Proposes terms for each text; none if None.
        rank_lm: Orders the candidates; none if None.
        task: What the language models are told: a task pack, its name, or its folder.
        index_folder: Where indexes are kept; the user's cache folder if None.
        progress: Called with (entries done, entries in all) while an index is built.

    Raises:
        ProgramError: If the folder holds no program, or its labels are not the ones it was frozen with.
        EncoderError: If its encoder is not there.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    return build(
        read_labels(folder),
        encoder=manifest.encoder,
        settings=manifest.settings,
        infer_lm=infer_lm,
        rank_lm=rank_lm,
        task=task,
        index_folder=index_folder,
        progress=progress,
    )


def read_labels(folder: str | Path) -> LabelSpace:
    """Reads the label space of a frozen program.

    Raises:
        ProgramError: If the folder holds no program, or its labels are not the ones it was frozen with.
    """
    manifest = _read_manifest(Path(folder))
    path = Path(folder) / _LABELS
    space = LabelSpace.read(path)
    if space.fingerprint != manifest.fingerprint:
        raise ProgramError(f"{path} is not what was frozen", "freeze the program again")
    return space


def _read_manifest(folder: Path) -> _Manifest:
    path = folder / _MANIFEST
    try:
        return _Manifest.model_validate_json(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as e:
        raise ProgramError(f"{folder} holds no frozen program", f"{_MANIFEST} must be in it") from e
    except ValidationError as e:
        where = ".".join(str(part) for part in e.errors()[0]["loc"]) or "content"
        raise ProgramError(f"{path}: {where} is not what this version reads", "freeze it again") from e
