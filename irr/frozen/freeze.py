"""Freeze and load: a program as a folder of JSON that gives the same answers anywhere."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from irr.calibrate.calibration import Calibration
from irr.encoders.sentence_transformers import SentenceEncoder, model_folder
from irr.errors import ProgramError
from irr.frozen.folder import (
    CALIBRATION,
    EXAMPLES,
    LABELS,
    MANIFEST,
    SUMS,
    TRIALS,
    Manifest,
    ProgramFolder,
    Scores,
    names_in,
    read_calibration,
    read_manifest,
    sums_of,
)
from irr.hub import hub_folder
from irr.index.vectors import Progress
from irr.labels.space import LabelSpace
from irr.lm.protocol import LanguageModel
from irr.lm.registry import NO_MODEL, capabilities_of, name_of, open_models
from irr.lm.server_limits import Limits
from irr.program.program import InferRetrieveRank, build
from irr.program.spec import ModelName
from irr.prompts.pack import TaskPack, load_task
from irr.types import Example
from irr.version import __version__

# What a manifest names the versions of.
_PACKAGES = ("chromadb", "sentence-transformers", "torch", "transformers")

logger = logging.getLogger(__name__)


def freeze(
    program: InferRetrieveRank,
    folder: str | Path | ProgramFolder,
    *,
    scores: Mapping[str, Scores] | None = None,
    optimized: Mapping[str, str | int] | None = None,
    trials: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Writes a program: labels, settings, prompts, examples, and its models by name; no key and no pickle.

    The folder appears when it is complete, and replaces a frozen program of that name in one step.

    Args:
        program: The program.
        folder: The folder, or a `ProgramFolder` that was checked before.
        scores: The program's scores by the name of what was scored.
        optimized: The history of its optimization.
        trials: The trials of its optimization, one row each.

    Raises:
        ProgramError: If the folder holds something else or cannot be written, or the program has a ranker or
            an encoder of the caller's own. If writing fails, the message names the folder with the program.
    """
    place = folder if isinstance(folder, ProgramFolder) else ProgramFolder.at(folder)
    obstacles = {
        "an encoder of its own": not isinstance(program.encoder, SentenceEncoder),
        "a ranker of its own": program.models.ranker is not None,
        "a part of its label space": program.part is not None,
    }
    for own, there in obstacles.items():
        if there:
            raise ProgramError(f"a program with {own} cannot be frozen", "freeze it without that")
    versions = {"irr": __version__, "python": platform.python_version()}
    manifest = Manifest(
        spec=program.spec.replace(examples=()),
        labels=len(program.space),
        examples=len(program.examples),
        fingerprint=program.space.fingerprint,
        digest=program.ranking_digest,
        scores=scores or {},
        optimized=optimized or {},
        versions={**versions, **{name: version(name) for name in _PACKAGES}},
    )
    files = {
        MANIFEST: _json(manifest),
        LABELS: _lines(label.model_dump_json(exclude_defaults=True) for label in program.space),
        EXAMPLES: _lines(example.model_dump_json() for example in program.examples),
        TRIALS: _lines(json.dumps(trial, ensure_ascii=False) for trial in trials),
        CALIBRATION: _json(program.calibration) if program.calibration else "",
    }
    contents = {name: text.encode() for name, text in files.items() if text}
    contents[SUMS] = sums_of(contents)
    place.fill(contents)


def freeze_calibration(calibration: Calibration, folder: str | Path) -> None:
    """Adds a calibration to a frozen program, or replaces its calibration.

    Raises:
        ProgramError: If the folder holds no program or another one, or cannot be written.
    """
    folder = Path(folder)
    if read_manifest(folder).digest != calibration.program:
        raise ProgramError(f"{folder} is not the program that was calibrated", "calibrate this one")
    contents = {name: (folder / name).read_bytes() for name in names_in(folder) - {SUMS}}
    contents[CALIBRATION] = _json(calibration).encode()
    contents[SUMS] = sums_of(contents)
    ProgramFolder.at(folder).fill(contents)


def load(
    folder: str | Path,
    *,
    api_base: str | None = None,
    limits: Limits | None = None,
    infer_lm: LanguageModel | str | None = None,
    rank_lm: LanguageModel | str | None = None,
    task: TaskPack | str | None = None,
    labels: LabelSpace | None = None,
    rebind: bool = False,
    index_folder: str | Path | None = None,
    index_server: str | None = None,
    progress: Progress | None = None,
) -> InferRetrieveRank:
    """Loads a frozen program; its index is built at first use and reused afterwards.

    Args:
        folder: A folder that `freeze` wrote.
        api_base: URL of the server of its language models.
        limits: Concurrency and rate limits of that server.
        infer_lm: The model that proposes terms, in place of the frozen one; "none" for no model.
        rank_lm: The model that orders the candidates, likewise.
        task: The task pack, for a program that was frozen without a language model.
        labels: The label space, which must be the frozen one.
        rebind: Whether `labels` may be another label space; examples without a label in it are dropped.
        index_folder: Where indexes are kept; the user's cache folder if None.
        index_server: URL of a Chroma server that holds the vectors of label entries, for many to share.
        progress: Called with (entries done, entries in all) while an index is built.

    Raises:
        ProgramError: If the folder holds no program, was changed, or needs an `api_base` or an encoder that
            is not on this machine. Models that a folder names are never fetched.
        EncoderError: If its encoder does not load.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    spec = manifest.spec
    if spec.task and task:
        raise ProgramError(f"{folder} has prompts of its own", "leave the task out")
    space = read_labels(folder, manifest, labels, rebind)
    stages = ((spec.infer, infer_lm), (spec.rank, rank_lm))
    needed = [_needed(folder, frozen, given, api_base) for frozen, given in stages]
    models = open_models(needed, api_base, limits)
    name = spec.encoder.name
    if model_folder(name) is None and hub_folder(name) is None:
        hint = f'fetch it with irr.SentenceEncoder("{name}") if you trust who made it'
        raise ProgramError(f'{folder} needs the encoder "{name}", which is not on this machine', hint)
    encoder = SentenceEncoder(name)
    for model, frozen in ((encoder, spec.encoder), (models[0], spec.infer), (models[1], spec.rank)):
        if model and frozen and model.name == frozen.name and ModelName.of(model) != frozen:
            problem = f'the model "{frozen.name}" here is not the one that the program was frozen with'
            raise ProgramError(problem, f"install the one with the revision {frozen.revision}")
    program = build(
        space,
        encoder=encoder,
        settings=spec.settings,
        infer_lm=models[0],
        rank_lm=models[1],
        combination=spec.combination,
        task=spec.task or task or load_task("default"),
        examples=_examples(folder, space, rebind),
        index_folder=index_folder,
        index_server=index_server,
        progress=progress,
    )
    as_frozen = infer_lm is None and rank_lm is None and not rebind
    if as_frozen and program.ranking_digest != manifest.digest:
        problem = f"irr {__version__} gives other answers than it was frozen with"
        raise ProgramError(f"{folder}: {problem}", f"use irr {manifest.versions['irr']}, or freeze it again")
    calibration = read_calibration(folder)
    if calibration and not as_frozen and calibration.program != program.ranking_digest:
        logger.warning("%s was calibrated with other models or labels: there are no probabilities", folder)
        return program
    return program.calibrated(calibration)


def read_labels(
    folder: Path, manifest: Manifest, labels: LabelSpace | None = None, rebind: bool = False
) -> LabelSpace:
    """The label space of a frozen program, or in its place `labels`, which may differ where `rebind`."""
    if labels is None:
        return LabelSpace.read(folder / LABELS)
    if labels.fingerprint != manifest.fingerprint and not rebind:
        hint = "leave them out, or set rebind"
        raise ProgramError(f"these labels are not the label space of {folder}", hint)
    return labels


def _examples(folder: Path, space: LabelSpace, rebind: bool) -> list[Example]:
    path = folder / EXAMPLES
    lines = path.read_text("utf-8").split("\n") if path.exists() else []
    examples = [Example.model_validate_json(line) for line in lines if line]
    if rebind:
        known = (tuple(label for label in example.labels if label in space) for example in examples)
        pairs = zip(examples, known, strict=True)
        return [Example(text=example.text, labels=labels) for example, labels in pairs if labels]
    return examples


def _needed(
    folder: Path, frozen: ModelName | None, given: LanguageModel | str | None, api_base: str | None
) -> LanguageModel | str:
    """The model of a stage, or the name that opens it."""
    if given is not None:
        return given
    if frozen is None:
        return NO_MODEL
    name = name_of(frozen.name)
    if api_base is None and not capabilities_of(name).local:
        # Texts must not go to the default server.
        problem = f'{folder} asks the model "{frozen.name}" of a server'
        raise ProgramError(problem, "give `api_base`, the URL of its server")
    return name


def _json(model: BaseModel) -> str:
    return model.model_dump_json(indent=2) + "\n"


def _lines(rows: Iterable[str]) -> str:
    return "".join(row + "\n" for row in rows)
