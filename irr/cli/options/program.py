"""Options that name the program to run: a frozen one, or one built for a label file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from irr.cli import display
from irr.cli.options.build import BuildOptions
from irr.errors import ProgramError, UsageError

if TYPE_CHECKING:
    from irr.calibrate.calibration import Calibration
    from irr.calibrate.decision import Decision
    from irr.cli.options.models import Models
    from irr.labels.space import LabelSpace
    from irr.lm.server_limits import Limits
    from irr.program.program import InferRetrieveRank


@dataclass(frozen=True, kw_only=True)
class ProgramOptions(BuildOptions):
    """The program to run: a frozen one, or one built for a label file."""

    program: Annotated[
        Path | None,
        Option(
            help="A frozen program. It brings its labels, encoder, settings, prompts and models.",
            metavar="DIR",
        ),
    ] = None
    rebind: Annotated[
        bool, Option(help="Run the frozen program on other --labels than it was frozen with.")
    ] = False
    within: Annotated[
        list[str],
        Option(
            help="Answer with labels of this branch only: the label of that id and all below it; "
            "may be given many times.",
            metavar="ID",
        ),
    ] = field(default_factory=list)
    only: Annotated[
        Path | None, Option(help="Answer with these labels only: a file with one id a line.", metavar="FILE")
    ] = None
    without: Annotated[
        Path | None, Option(help="Never answer with these labels: a file with one id a line.", metavar="FILE")
    ] = None

    def read_space(self) -> LabelSpace:
        """Reads the label space, and checks the options before any slow work.

        Raises:
            UsageError: If options contradict each other.
            LabelSpaceError: If the labels cannot be used.
            ProgramError: If the frozen program cannot be used.
        """
        if self.rebind and not (self.program and self.labels):
            raise UsageError("--rebind runs a frozen program on other labels", "give --program and --labels")
        if self.language is not None and self.labels is None:
            raise UsageError("--language is given, but no --labels", "leave it out")
        space = super().read_space() if self.program is None else self._frozen_space(self.program)
        self._part(space)
        return space

    def _part(self, space: LabelSpace) -> list[str] | None:
        """Ids of the labels that may be answers; None for all."""
        from irr.labels.part import part_of, read_ids

        if not self.within and self.only is None and self.without is None:
            return None
        only = read_ids(self.only) if self.only else None
        without = read_ids(self.without) if self.without else ()
        return [space[int(number)].id for number in part_of(space, self.within, only, without)]

    @property
    def encoder_name(self) -> str | None:
        """The name of the encoder; None for the default."""
        from irr.frozen.manifest import read_manifest

        return read_manifest(self.program).spec.encoder.name if self.program else self.encoder

    def _frozen_space(self, program: Path) -> LabelSpace:
        from irr.frozen.freeze import read_labels
        from irr.frozen.manifest import read_manifest
        from irr.labels.space import LabelSpace

        manifest = read_manifest(program)
        self.lms.check(manifest.spec)
        self._check_server()
        fixed = {
            "--encoder": self.encoder,
            "--fields": self.fields,
            "--rank-method": None if self.lms.rank_method == "auto" else self.lms.rank_method,
            "--hierarchy": self.hierarchy,
            "--set": self.set or None,
            "--task": self.lms.task if manifest.spec.task else None,
        }
        for name, value in fixed.items():
            if value is not None:
                raise UsageError(f"{name} is fixed in a frozen program", "leave it out")
        labels = LabelSpace.read(self.labels, self.language, self.column_names) if self.labels else None
        try:
            space = read_labels(program, manifest, labels, self.rebind)
        except ProgramError as e:
            hint = "leave --labels out, or add --rebind to run the program on these labels"
            raise UsageError(f"{self.labels} is not the label space of {program}", hint) from e
        if self.rebind:
            display.note(f"{program} runs on other labels than it was frozen with: {self.labels}")
        return space

    def calibration(self, decision: Decision) -> Calibration | None:
        """The program's calibration, after a check that it supports the decision.

        Raises:
            UsageError: If it does not.
        """
        from irr.frozen.manifest import read_calibration

        found = read_calibration(self.program) if self.program else None
        part = self.within or self.only or self.without
        if found and (part or self.rebind or any(self.lms.names)):
            if decision.calibrated:
                problem = "the program was calibrated with its own models, on all of its labels"
                raise UsageError(problem, "leave out the options that change these")
            return None
        if found:
            found.thresholds(decision)
        elif decision.calibrated:
            problem = "the program is not calibrated, and so has no probabilities"
            hint = f"run irr calibrate --program {self.program or 'DIR'} --gold FILE first"
            raise UsageError(problem, hint)
        return found

    @property
    def reads(self) -> list[Path]:
        """The files that are read, which no output may replace."""
        files = [file for file in (self.only, self.without) if file]
        return super().reads + files + (list(self.program.iterdir()) if self.program else [])

    def build(
        self, space: LabelSpace, limits: Limits | None = None, models: Models | None = None
    ) -> InferRetrieveRank:
        """Builds or loads the program, with these models if given; a bar shows the progress."""
        program = self._whole(space, limits, models)
        part = self._part(space)
        return program if part is None else program.within(only=part)

    def _whole(self, space: LabelSpace, limits: Limits | None, models: Models | None) -> InferRetrieveRank:
        from irr.frozen.freeze import load
        from irr.lm.registry import NO_MODEL

        if self.program is None:
            return super().build(space, limits, models)
        infer_lm, rank_lm = (model or NO_MODEL for model in models) if models else self.lms.names
        with display.progress("label entries", None) as on_entries:
            return load(
                self.program,
                api_base=self.lms.api_base,
                limits=limits,
                infer_lm=infer_lm,
                rank_lm=rank_lm,
                task=self.lms.task,
                labels=space,
                rebind=self.rebind,
                index_folder=self.index_folder,
                index_server=self.index,
                progress=on_entries,
            )

    def elsewhere(self, limits: Limits | None = None) -> Callable[[], InferRetrieveRank]:
        """A function that builds the same program in another process."""
        labels = self.labels.absolute() if self.labels else None
        program = self.program.absolute() if self.program else None
        only, without = (file.absolute() if file else None for file in (self.only, self.without))
        here = replace(self, labels=labels, program=program, only=only, without=without)
        return partial(_build, here, limits)


def _build(options: ProgramOptions, limits: Limits | None) -> InferRetrieveRank:
    return options.build(options.read_space(), limits)
