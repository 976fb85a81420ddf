"""The program that a command runs: a frozen one, or one built for a label file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import irr
from irr.calibrate.calibration import Calibration
from irr.cli import display
from irr.encoders.base import DEFAULT_ENCODER
from irr.encoders.sentence_transformers import open_window
from irr.errors import ProgramError, UsageError
from irr.frozen.folder import read_calibration, read_manifest
from irr.frozen.freeze import read_labels
from irr.io.columns import Columns
from irr.labels.diagnostics import names_sample
from irr.labels.hierarchy import part_of, read_ids
from irr.lm.protocol import Capabilities
from irr.lm.registry import NO_MODEL, capabilities_of, check_name, name_of, open_models
from irr.prompts.pack import load_task
from irr.types import EntryKind

# The models of infer and of rank.
Models = tuple[irr.LanguageModel | None, irr.LanguageModel | None]


@dataclass(frozen=True, kw_only=True)
class ProgramOptions:
    """The program to run, by the options of `irr.cli.options`, each under the name of its parameter."""

    labels: Path | None = None
    language: str | None = None
    columns: str | None = None
    encoder: str | None = None
    fields: str | None = None
    hierarchy: str | None = None
    settings: Sequence[str] | None = None
    index_folder: Path | None = None
    index_server: str | None = None
    program: Path | None = None
    rebind: bool = False
    within: Sequence[str] | None = None
    only: Path | None = None
    without: Path | None = None
    lm: str | None = None
    api_base: str | None = None
    infer_lm: str | None = None
    rank_lm: str | None = None
    rank_method: str = "auto"
    task: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ProgramOptions:
        """Those of a command's parameters that are about the program, given as `locals()`."""
        return cls(**{field.name: options[field.name] for field in fields(cls) if field.name in options})

    @property
    def lm_names(self) -> tuple[str | None, str | None]:
        """The names of the models of infer and rank; None leaves one to the program."""
        return self.infer_lm or self.lm, self.rank_lm or self.lm

    @property
    def capabilities(self) -> tuple[Capabilities | None, Capabilities | None]:
        """The capabilities of the models of infer and rank; None for no model."""
        infer, rank = (capabilities_of(name) if name and name != NO_MODEL else None for name in self.lm_names)
        return infer, rank

    @property
    def column_names(self) -> Columns:
        """The columns that hold the fields."""
        return Columns.parse(self.columns)

    @property
    def files_read(self) -> list[Path]:
        """The files that are read, which no output may replace."""
        frozen = self.program.iterdir() if self.program else ()
        return [*(file for file in (self.labels, self.only, self.without) if file), *frozen]

    def check_models(self, frozen: Sequence[str] = ("none", "none")) -> None:
        """Checks the models, their server and the key; `frozen` names the models of a frozen program."""
        names = [name or own for name, own in zip(self.lm_names, frozen, strict=True)]
        if self.api_base and all(capabilities_of(name).local for name in names):
            raise UsageError("--api-base is given, but no model of that server", "add --lm openai/MODEL")
        for name in names:
            check_name(name, self.api_base)

    def open_models(self, limits: irr.Limits | None = None) -> Models:
        """Opens the models of infer and rank; one name gives one model."""
        infer, rank = open_models([name or NO_MODEL for name in self.lm_names], self.api_base, limits)
        return infer, rank

    def read_space(self) -> irr.LabelSpace:
        """Reads the label space, and checks the options before any slow work."""
        if self.rebind and not (self.program and self.labels):
            raise UsageError("--rebind runs a frozen program on other labels", "give --program and --labels")
        if self.language is not None and self.labels is None:
            raise UsageError("--language is given, but no --labels", "leave it out")
        if self.index_server and not self.index_server.startswith(("http://", "https://")):
            raise UsageError(f'--index: "{self.index_server}" is not a URL', "write it as http://HOST:PORT")
        if self.task is not None:
            load_task(self.task)
        space = self._frozen_space(self.program) if self.program else self._space_of_file()
        self._part(space)
        return space

    def _space_of_file(self) -> irr.LabelSpace:
        self.read_settings()
        self.check_models()
        if self.labels is None:
            raise UsageError("no labels", "give --labels FILE, or --program DIR")
        space = irr.LabelSpace.read(self.labels, self.language, self.column_names)
        display.skos(self.labels, space.counts)
        if not (space.counts and space.counts.language_hint):
            self.note_language("labels", names_sample(space))
        return space

    def _frozen_space(self, program: Path) -> irr.LabelSpace:
        manifest = read_manifest(program)
        models = (manifest.spec.infer, manifest.spec.rank)
        self.check_models([name_of(model.name) if model else NO_MODEL for model in models])
        fixed = {
            "--encoder": self.encoder,
            "--fields": self.fields,
            "--rank-method": None if self.rank_method == "auto" else self.rank_method,
            "--hierarchy": self.hierarchy,
            "--set": self.settings or None,
            "--task": self.task if manifest.spec.task else None,
        }
        for name, value in fixed.items():
            if value is not None:
                raise UsageError(f"{name} is fixed in a frozen program", "leave it out")
        labels = irr.LabelSpace.read(self.labels, self.language, self.column_names) if self.labels else None
        try:
            space = read_labels(program, manifest, labels, self.rebind)
        except ProgramError as e:
            hint = "leave --labels out, or add --rebind to run the program on these labels"
            raise UsageError(f"{self.labels} is not the label space of {program}", hint) from e
        if self.rebind:
            display.note(f"{program} runs on other labels than it was frozen with: {self.labels}")
        return space

    def _part(self, space: irr.LabelSpace) -> list[str] | None:
        """Ids of the labels that may be answers; None for all."""
        if not self.within and self.only is None and self.without is None:
            return None
        only = read_ids(self.only) if self.only else None
        without = read_ids(self.without) if self.without else ()
        return [space[int(number)].id for number in part_of(space, self.within or (), only, without)]

    def read_settings(self) -> irr.Settings:
        """The settings, checked."""
        changes: dict[str, object] = {"rank.method": self.rank_method}
        if self.hierarchy:
            changes["hierarchy"] = self.hierarchy
        if self.fields is not None:
            names = [name.strip() for name in self.fields.split(",")]
            if unknown := [name for name in names if name not in list(EntryKind)]:
                raise UsageError(f'--fields: no field "{unknown[0]}"', f"name some of {','.join(EntryKind)}")
            changes["retrieve.fields"] = names
        for setting in self.settings or ():
            name, equals, value = setting.partition("=")
            if not equals:
                raise UsageError(f'--set: "{setting}" gives no value', "write --set NAME=VALUE")
            try:
                changes[name.strip()] = json.loads(value)
            except (ValueError, RecursionError):
                changes[name.strip()] = value.strip()
        return irr.Settings().replace(changes)

    def read_calibration(self, decision: irr.Decision) -> Calibration | None:
        """The program's calibration, after a check that it supports the decision."""
        calibration = read_calibration(self.program) if self.program else None
        part = self.within or self.only or self.without
        if calibration and (part or self.rebind or any(self.lm_names)):
            if decision.calibrated:
                problem = "the program was calibrated with its own models, on all of its labels"
                raise UsageError(problem, "leave out the options that change these")
            return None
        if calibration:
            calibration.thresholds(decision)
        elif decision.calibrated:
            problem = "the program is not calibrated, and so has no probabilities"
            hint = f"run irr calibrate --program {self.program or 'DIR'} --gold FILE first"
            raise UsageError(problem, hint)
        return calibration

    def note_language(self, what: str, texts: Iterable[str]) -> None:
        """Warns if the default encoder, which reads English only, is given texts in another language."""
        encoder = read_manifest(self.program).spec.encoder.name if self.program else self.encoder
        window = open_window() if encoder in (None, DEFAULT_ENCODER) else None
        if window and (note := window.language_note(what, texts)):
            display.note(note)

    def build(
        self, space: irr.LabelSpace, limits: irr.Limits | None = None, models: Models | None = None
    ) -> irr.InferRetrieveRank:
        """Builds or loads the program, with these models if given; a bar shows the progress."""
        with display.progress("label entries", None) as on_entries:
            if self.program is None:
                infer_lm, rank_lm = models or self.open_models(limits)
                program = irr.build(
                    space,
                    encoder=self.encoder,
                    settings=self.read_settings(),
                    infer_lm=infer_lm,
                    rank_lm=rank_lm,
                    task=self.task or "default",
                    index_folder=self.index_folder,
                    index_server=self.index_server,
                    progress=on_entries,
                )
            else:
                infer, rank = (model or NO_MODEL for model in models) if models else self.lm_names
                program = irr.load(
                    self.program,
                    api_base=self.api_base,
                    limits=limits,
                    infer_lm=infer,
                    rank_lm=rank,
                    task=self.task,
                    labels=space,
                    rebind=self.rebind,
                    index_folder=self.index_folder,
                    index_server=self.index_server,
                    progress=on_entries,
                )
        part = self._part(space)
        return program if part is None else program.within(only=part)

    def builder(self, limits: irr.Limits) -> Callable[[], irr.InferRetrieveRank]:
        """A function that builds the same program in another process."""
        paths = {name: getattr(self, name) for name in ("labels", "program", "only", "without")}
        absolute = {name: path and path.absolute() for name, path in paths.items()}
        return partial(replace(self, **absolute)._read_and_build, limits)

    def _read_and_build(self, limits: irr.Limits) -> irr.InferRetrieveRank:
        return self.build(self.read_space(), limits)
