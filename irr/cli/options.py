"""The options that commands share, and the program that they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from irr.cli import display
from irr.config import Hierarchy, RankMethod, Settings
from irr.errors import ProgramError, UsageError
from irr.lm.openai.limits import Limits
from irr.lm.registry import NO_MODEL, capabilities_of, check_name, name_of, open_models
from irr.types import EntryKind

if TYPE_CHECKING:
    from irr.labels.space import LabelSpace
    from irr.lm.base import Capabilities, LanguageModel
    from irr.pipeline import InferRetrieveRank
    from irr.recipe import Recipe

Labels = Annotated[
    Path | None,
    typer.Option(
        help="Label file: .jsonl, .csv, .txt with one name a line, or SKOS as .rdf, .xml, .owl, .ttl, .nt, "
        ".jsonld or .json; .gz may follow.",
        metavar="FILE",
        show_default=False,
    ),
]
Language = Annotated[
    str | None,
    typer.Option(
        help="For SKOS: languages of the labels, most wanted first, as in fi,en. Default: en.",
        metavar="LIST",
        show_default=False,
    ),
]
HierarchyName = Annotated[
    Hierarchy | None,
    typer.Option(
        "--hierarchy",
        help="closed adds the ancestors of the labels returned; leaves keeps the most specific. "
        "Default: none.",
        show_default=False,
    ),
]
ProgramFolder = Annotated[
    Path | None,
    typer.Option(
        "--program",
        help="A frozen program. It brings its labels, encoder, settings, prompts and models.",
        metavar="DIR",
        show_default=False,
    ),
]
Rebind = Annotated[
    bool, typer.Option("--rebind", help="Run the frozen program on other --labels than it was frozen with.")
]
EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="Name or folder of a sentence-transformers model. Default: all-MiniLM-L6-v2.",
        metavar="NAME",
        show_default=False,
    ),
]
Fields = Annotated[
    str | None,
    typer.Option(
        help="Parts of a label that texts are matched with. Default: name,alias,description.",
        metavar="LIST",
        show_default=False,
    ),
]
IndexFolder = Annotated[
    Path | None,
    typer.Option(
        help="Where label indexes are kept. Default: the user's cache folder.",
        metavar="DIR",
        envvar="IRR_INDEX_FOLDER",
        show_default=False,
        show_envvar=False,
    ),
]
LMName = Annotated[
    str | None,
    typer.Option(
        "--lm",
        help="Language model for both stages: none, embedded, or openai/MODEL. "
        "Default: none, or those of the frozen program.",
        metavar="NAME",
        show_default=False,
    ),
]
ApiBase = Annotated[
    str | None,
    typer.Option(
        help="URL of the server of openai/MODEL, up to /v1. Default: OpenAI's. Its key: OPENAI_API_KEY.",
        metavar="URL",
        show_default=False,
    ),
]
InferLM = Annotated[
    str | None,
    typer.Option("--infer-lm", help="Another one for infer.", metavar="NAME", show_default=False),
]
RankLM = Annotated[
    str | None,
    typer.Option("--rank-lm", help="Another one for rank.", metavar="NAME", show_default=False),
]
RankMethodName = Annotated[
    RankMethod, typer.Option("--rank-method", help="How the language model ranks.", show_default=True)
]
Task = Annotated[
    str | None,
    typer.Option(
        help="What language models are told: a task pack (attack, biodex, default, esco, icd10, subjects) "
        "or a folder with a task.toml. Default: default.",
        metavar="NAME",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class LMOptions:
    """Which language models to ask, and what to tell them; None leaves it to the program."""

    lm: str | None = None
    api_base: str | None = None
    infer_lm: str | None = None
    rank_lm: str | None = None
    rank_method: RankMethod = RankMethod.AUTO
    task: str | None = None
    limits: Limits | None = None

    @property
    def names(self) -> tuple[str | None, str | None]:
        """The models named for infer and for rank."""
        return self.infer_lm or self.lm, self.rank_lm or self.lm

    @property
    def capabilities(self) -> tuple[Capabilities | None, Capabilities | None]:
        """What those can do; None where there is none."""
        infer, rank = (capabilities_of(name) if name and name != NO_MODEL else None for name in self.names)
        return infer, rank

    def check(self, frozen: Recipe | None = None) -> None:
        """Raises what is wrong with the options before anything slow is done.

        Args:
            frozen: The program that is to run, if it is a frozen one.

        Raises:
            UsageError: If they name no model, or do not fit together.
            InputError: If they name no task.
        """
        from irr.prompts.pack import load_task

        if self.task is not None:
            load_task(self.task)
        own = (frozen.infer, frozen.rank) if frozen else (None, None)
        names = [
            given or (name_of(model.name) if model else NO_MODEL)
            for given, model in zip(self.names, own, strict=True)
        ]
        if self.api_base and all(capabilities_of(name).local for name in names):
            raise UsageError("--api-base is given, but no model of that server", "add --lm openai/MODEL")
        for given in self.names:
            if given is not None:
                check_name(given)

    def open(self) -> tuple[LanguageModel | None, LanguageModel | None]:
        """The models for infer and rank; one and the same where they have one name."""
        infer, rank = open_models([name or NO_MODEL for name in self.names], self.api_base, self.limits)
        return infer, rank


@dataclass(frozen=True)
class ProgramOptions:
    """Which program to run: a frozen one, or one built for a label file."""

    labels: Path | None
    program: Path | None
    encoder: str | None
    fields: str | None
    index_folder: Path | None
    lms: LMOptions = LMOptions()
    rebind: bool = False
    language: str | None = None
    hierarchy: Hierarchy | None = None

    def read_space(self) -> LabelSpace:
        """Reads the label space, and checks that the options fit together, before anything slow is done.

        Raises:
            UsageError: If they do not.
            LabelSpaceError: If the labels are unusable.
            ProgramError: If the frozen program is.
        """
        from irr.frozen.freeze import read_labels
        from irr.frozen.manifest import read_manifest
        from irr.labels.space import LabelSpace

        self.settings()
        if self.rebind and not (self.program and self.labels):
            raise UsageError("--rebind runs a frozen program on other labels", "give --program and --labels")
        if self.language is not None and self.labels is None:
            raise UsageError("--language is given, but no --labels", "leave it out")
        if self.program is None:
            self.lms.check()
            if self.labels is None:
                raise UsageError("no labels", "give --labels FILE, or --program DIR")
            space = LabelSpace.read(self.labels, self.language)
            display.skos(self.labels, space.counts)
            return space
        manifest = read_manifest(self.program)
        frozen = manifest.recipe
        self.lms.check(frozen)
        method = None if self.lms.rank_method is RankMethod.AUTO else self.lms.rank_method
        fixed = {"--encoder": self.encoder, "--fields": self.fields, "--rank-method": method}
        fixed["--hierarchy"] = self.hierarchy
        fixed["--task"] = self.lms.task if frozen.task else None
        for name, value in fixed.items():
            if value is not None:
                raise UsageError(f"{name} is fixed in a frozen program", "leave it out")
        labels = LabelSpace.read(self.labels, self.language) if self.labels else None
        try:
            space = read_labels(self.program, manifest, labels, self.rebind)
        except ProgramError as e:
            hint = "leave --labels out, or add --rebind to run the program on these labels"
            raise UsageError(f"{self.labels} is not the label space of {self.program}", hint) from e
        if self.rebind:
            display.note(f"{self.program} runs on other labels than it was frozen with: {self.labels}")
        return space

    def files(self) -> list[Path]:
        """The files that are read, none of which may be written."""
        files = [self.labels] if self.labels else []
        return files + (list(self.program.iterdir()) if self.program else [])

    def build(self, space: LabelSpace) -> InferRetrieveRank:
        """Builds or loads the program, with progress while its index is made."""
        from irr.builder import build
        from irr.frozen.freeze import load

        with display.progress("label entries", None) as on_entries:
            if self.program is not None:
                return load(
                    self.program,
                    api_base=self.lms.api_base,
                    limits=self.lms.limits,
                    infer_lm=self.lms.names[0],
                    rank_lm=self.lms.names[1],
                    task=self.lms.task,
                    labels=space,
                    rebind=self.rebind,
                    index_folder=self.index_folder,
                    progress=on_entries,
                )
            infer_lm, rank_lm = self.lms.open()
            return build(
                space,
                encoder=self.encoder,
                settings=self.settings(),
                infer_lm=infer_lm,
                rank_lm=rank_lm,
                task=self.lms.task or "default",
                index_folder=self.index_folder,
                progress=on_entries,
            )

    def elsewhere(self) -> Callable[[], InferRetrieveRank]:
        """What builds the same program in another process."""
        labels = self.labels.absolute() if self.labels else None
        program = self.program.absolute() if self.program else None
        return partial(_build, replace(self, labels=labels, program=program))

    def settings(self) -> Settings:
        """The numbers that the options ask for."""
        hierarchy = self.hierarchy or Hierarchy.NONE
        settings = Settings(hierarchy=hierarchy).replace({"rank.method": self.lms.rank_method})
        if self.fields is None:
            return settings
        known = [kind.value for kind in EntryKind]
        names = [name.strip() for name in self.fields.split(",")]
        for name in names:
            if name not in known:
                raise UsageError(f'--fields: no field "{name}"', f"name some of {','.join(known)}")
        return settings.replace({"retrieve.fields": tuple(EntryKind(name) for name in names)})


def _build(options: ProgramOptions) -> InferRetrieveRank:
    return options.build(options.read_space())
