"""The groups of options that commands share, and the program that they name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from typer import Option

from irr.cli import display
from irr.errors import ProgramError, UsageError

if TYPE_CHECKING:
    from irr.calibrate.calibration import Calibration
    from irr.calibrate.selection import Decision
    from irr.config import Settings
    from irr.io.columns import Columns
    from irr.labels.space import LabelSpace
    from irr.lm.base import Capabilities, LanguageModel
    from irr.lm.openai.limits import Limits
    from irr.pipeline import InferRetrieveRank
    from irr.recipe import Recipe

    # Of infer and of rank.
    Models = tuple[LanguageModel | None, LanguageModel | None]

# As in irr.config, whose import costs more than all of this; a test compares them.
RankMethodName = Literal["auto", "listwise", "pointwise", "likelihood"]
HierarchyName = Literal["none", "closed", "leaves"]
# Up to here the number of requests that pays is looked for.
_MOST_REQUESTS = 256

Labels = Annotated[
    Path | None,
    Option(
        help="Label file: .jsonl, .csv, .tsv, .xlsx, .parquet, .txt with one name a line, or SKOS as .rdf, "
        ".xml, .owl, .ttl, .nt, .jsonld or .json; .gz or .zst may follow.",
        metavar="FILE",
    ),
]
Language = Annotated[
    str | None,
    Option(
        help="For SKOS: languages of the labels, most wanted first, as in fi,en. Default: en.", metavar="LIST"
    ),
]
ColumnNames = Annotated[
    str | None,
    Option(
        help="Columns or keys that hold the fields of labels and texts, as in id=ID,name=Title,text=Abstract."
        " Default: those of the fields' own names, whatever their case.",
        metavar="LIST",
    ),
]
Encoder = Annotated[
    str | None,
    Option(
        help="Name or folder of a sentence-transformers model. Default: all-MiniLM-L6-v2.", metavar="NAME"
    ),
]


IndexFolder = Annotated[
    Path | None,
    Option(
        help="Where label indexes are kept. Default: the user's cache folder.",
        metavar="DIR",
        envvar="IRR_INDEX_FOLDER",
        show_envvar=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class LMOptions:
    """Which language models to ask, and what to tell them; None leaves it to the program."""

    panel: ClassVar[str] = "Language models"

    lm: Annotated[
        str | None,
        Option(
            help="Language model for both stages: none, embedded, openai/MODEL, or recorded/FILE. "
            "Default: none, or those of the frozen program.",
            metavar="NAME",
        ),
    ] = None
    api_base: Annotated[
        str | None,
        Option(
            help="URL of the server of openai/MODEL, up to /v1. Default: OpenAI's. Its key: OPENAI_API_KEY.",
            metavar="URL",
        ),
    ] = None
    infer_lm: Annotated[str | None, Option(help="Another one for infer.", metavar="NAME")] = None
    rank_lm: Annotated[str | None, Option(help="Another one for rank.", metavar="NAME")] = None
    rank_method: Annotated[RankMethodName, Option(help="How the language model ranks.")] = "auto"
    task: Annotated[
        str | None,
        Option(
            help="What language models are told: a task pack (attack, biodex, default, esco, icd10, "
            "subjects) or a folder with a task.toml. Default: default.",
            metavar="NAME",
        ),
    ] = None

    @property
    def names(self) -> tuple[str | None, str | None]:
        """The models named for infer and for rank."""
        return self.infer_lm or self.lm, self.rank_lm or self.lm

    @property
    def capabilities(self) -> tuple[Capabilities | None, Capabilities | None]:
        """What those can do; None where there is none."""
        from irr.lm.registry import NO_MODEL, capabilities_of

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
        from irr.lm.registry import NO_MODEL, capabilities_of, check_name, name_of
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
        for name in names:
            check_name(name, self.api_base)

    def open(self, limits: Limits | None = None) -> tuple[LanguageModel | None, LanguageModel | None]:
        """The models for infer and rank; one and the same where they have one name."""
        from irr.lm.registry import NO_MODEL, open_models

        infer, rank = open_models([name or NO_MODEL for name in self.names], self.api_base, limits)
        return infer, rank


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """How much is asked of a model server at a time."""

    panel: ClassVar[str] = "Model servers"

    concurrency: Annotated[
        str,
        Option(
            help="Requests to a model server at a time; auto finds how many pay, up to 256.", metavar="N|auto"
        ),
    ] = "auto"
    requests_per_minute: Annotated[
        float | None, Option(help="Requests to each model, at most.", min=0.001, metavar="N")
    ] = None
    tokens_per_minute: Annotated[
        float | None, Option(help="Tokens sent to and from each model, at most.", min=1, metavar="N")
    ] = None
    patience: Annotated[
        float,
        Option(
            help="Minutes to wait for a model server that is down or asks for a pause; then the run stops. "
            "With 0 rows do without the model.",
            min=0,
            metavar="MINUTES",
        ),
    ] = 60

    def read(self) -> Limits:
        """The limits that they ask for.

        Raises:
            UsageError: If `concurrency` is neither a number nor `auto`.
        """
        from irr.lm.openai.limits import Limits

        auto = self.concurrency == "auto"
        if not auto and not (self.concurrency.isdecimal() and int(self.concurrency) > 0):
            problem = f'--concurrency: "{self.concurrency}" is no number of requests'
            raise UsageError(problem, "give auto, or 1 or more")
        return Limits(
            concurrency=_MOST_REQUESTS if auto else int(self.concurrency),
            auto=auto,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            patience=60 * self.patience,
        )


@dataclass(frozen=True, kw_only=True)
class DecisionOptions:
    """Which labels a text gets from a calibrated program, if not the best ones of every text."""

    panel: ClassVar[str] = "Labels returned, by a calibrated program"

    min_probability: Annotated[
        float | None, Option(help="Only labels that are at least so probable.", metavar="SHARE")
    ] = None
    precision: Annotated[
        float | None,
        Option(help="Labels of which this share is right, with 95 % confidence.", metavar="SHARE"),
    ] = None
    recall: Annotated[
        float | None,
        Option(help="Sets that hold this share of a text's right labels, in the mean.", metavar="SHARE"),
    ] = None
    best_f1: Annotated[bool, Option(help="The set of the highest expected F1.")] = False
    scope: Annotated[
        float | None,
        Option(
            help="No labels for texts as unusual as this share of the calibration texts. Default: 0.05 "
            "with --min-probability and --best-f1, else 0; a promise has its own.",
            metavar="SHARE",
        ),
    ] = None

    def read(self) -> Decision:
        """The decision that they ask for.

        Raises:
            UsageError: If they do not fit together, or a value is out of its range.
        """
        from pydantic import ValidationError

        from irr.calibrate.selection import Decision

        try:
            return Decision(
                min_probability=self.min_probability,
                precision=self.precision,
                recall=self.recall,
                best_f1=self.best_f1,
                scope=self.scope,
            )
        except ValidationError as e:
            first = e.errors(include_url=False)[0]
            option = "".join(f"--{part}: ".replace("_", "-") for part in first["loc"])
            reason = str(first.get("ctx", {}).get("error", "")) or first["msg"]
            raise UsageError(f"{option}{reason[:1].lower()}{reason[1:]}", "see irr classify --help") from e


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What a program is built of."""

    panel: ClassVar[str] = "Program"

    labels: Labels = None
    language: Language = None
    columns: ColumnNames = None
    encoder: Encoder = None
    fields: Annotated[
        str | None,
        Option(
            help="Parts of a label that texts are matched with. Default: name,alias,description.",
            metavar="LIST",
        ),
    ] = None
    hierarchy: Annotated[
        HierarchyName | None,
        Option(
            help="closed adds the ancestors of the labels returned; leaves keeps the most specific. "
            "Default: none."
        ),
    ] = None
    set: Annotated[
        list[str],
        Option(
            help="Another value for a setting, as in retrieve.text_weight=0.5; may be given many times.",
            metavar="NAME=VALUE",
        ),
    ] = field(default_factory=list)
    index_folder: IndexFolder = None
    index: Annotated[
        str | None,
        Option(
            help="URL of a Chroma server that holds the vectors of label entries, for many to share.",
            metavar="URL",
        ),
    ] = None
    lms: LMOptions = LMOptions()

    def read_space(self) -> LabelSpace:
        """Reads the label space, and checks that the options fit together, before anything slow is done.

        Raises:
            UsageError: If they do not.
            LabelSpaceError: If the labels are unusable.
        """
        from irr.labels.diagnostics import names_sample
        from irr.labels.space import LabelSpace

        self.settings()
        self.lms.check()
        self._check_server()
        if self.labels is None:
            raise UsageError("no labels", "give --labels FILE, or --program DIR")
        space = LabelSpace.read(self.labels, self.language, self.column_names)
        display.skos(self.labels, space.counts)
        if not (space.counts and space.counts.language_hint):
            note_language("labels", names_sample(space), self.encoder)
        return space

    def _check_server(self) -> None:
        if self.index is not None and not self.index.startswith(("http://", "https://")):
            raise UsageError(f'--index: "{self.index}" is no URL', "write it as http://HOST:PORT")

    @property
    def encoder_name(self) -> str | None:
        """The encoder that texts are read with; None is the default."""
        return self.encoder

    @property
    def column_names(self) -> Columns:
        """Which columns hold which field.

        Raises:
            UsageError: If the option is no list of them.
        """
        from irr.io.columns import Columns

        return Columns.parse(self.columns)

    @property
    def reads(self) -> list[Path]:
        """The files that are read, none of which may be written."""
        return [self.labels] if self.labels else []

    def build(
        self, space: LabelSpace, limits: Limits | None = None, models: Models | None = None
    ) -> InferRetrieveRank:
        """Builds the program, with progress while its index is made; with other models if some are given."""
        from irr.builder import build

        infer_lm, rank_lm = models or self.lms.open(limits)
        with display.progress("label entries", None) as on_entries:
            return build(
                space,
                encoder=self.encoder,
                settings=self.settings(),
                infer_lm=infer_lm,
                rank_lm=rank_lm,
                task=self.lms.task or "default",
                index_folder=self.index_folder,
                index_server=self.index,
                progress=on_entries,
            )

    def settings(self) -> Settings:
        """The settings that the options ask for.

        Raises:
            UsageError: If one is not known, or its value is none.
        """
        from irr.config import Settings

        changes: dict[str, object] = {"rank.method": self.lms.rank_method}
        if self.hierarchy:
            changes["hierarchy"] = self.hierarchy
        if self.fields is not None:
            changes["retrieve.fields"] = _fields(self.fields)
        for given in self.set:
            name, equals, value = given.partition("=")
            if not equals:
                raise UsageError(f'--set: "{given}" gives no value', "write --set NAME=VALUE")
            changes[name.strip()] = _value(value)
        return Settings().replace(changes)


@dataclass(frozen=True, kw_only=True)
class ProgramOptions(BuildOptions):
    """Which program to run: a frozen one, or one built for a label file."""

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
        Path | None, Option(help="Never answer with these labels: likewise.", metavar="FILE")
    ] = None

    def read_space(self) -> LabelSpace:
        """Reads the label space, and checks that the options fit together, before anything slow is done.

        Raises:
            UsageError: If they do not.
            LabelSpaceError: If the labels are unusable.
            ProgramError: If the frozen program is.
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
        """The encoder that texts are read with; None is the default."""
        from irr.frozen.manifest import read_manifest

        return read_manifest(self.program).recipe.encoder.name if self.program else self.encoder

    def _frozen_space(self, program: Path) -> LabelSpace:
        from irr.frozen.freeze import read_labels
        from irr.frozen.manifest import read_manifest
        from irr.labels.space import LabelSpace

        manifest = read_manifest(program)
        self.lms.check(manifest.recipe)
        self._check_server()
        fixed = {
            "--encoder": self.encoder,
            "--fields": self.fields,
            "--rank-method": None if self.lms.rank_method == "auto" else self.lms.rank_method,
            "--hierarchy": self.hierarchy,
            "--set": self.set or None,
            "--task": self.lms.task if manifest.recipe.task else None,
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
        """The program's calibration, after a check that the decision can be made with it.

        Raises:
            UsageError: If it cannot.
        """
        from irr.frozen.manifest import read_calibration

        found = read_calibration(self.program) if self.program else None
        part = self.within or self.only or self.without
        if found and (part or self.rebind or any(self.lms.names)):
            if decision.calibrated:
                problem = "the program was calibrated with its own models, on all of its labels"
                raise UsageError(problem, "leave the options out that change them")
            return None
        if found:
            found.cut(decision)
        elif decision.calibrated:
            problem = "the program is not calibrated, so that it knows no probabilities"
            hint = f"run irr calibrate --program {self.program or 'DIR'} --gold FILE first"
            raise UsageError(problem, hint)
        return found

    @property
    def reads(self) -> list[Path]:
        """The files that are read, none of which may be written."""
        files = [file for file in (self.only, self.without) if file]
        return super().reads + files + (list(self.program.iterdir()) if self.program else [])

    def build(
        self, space: LabelSpace, limits: Limits | None = None, models: Models | None = None
    ) -> InferRetrieveRank:
        """Builds or loads the program, with progress while its index is made; with other models if given."""
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
        """What builds the same program in another process."""
        labels = self.labels.absolute() if self.labels else None
        program = self.program.absolute() if self.program else None
        only, without = (file.absolute() if file else None for file in (self.only, self.without))
        here = replace(self, labels=labels, program=program, only=only, without=without)
        return partial(_build, here, limits)


def note_language(what: str, texts: Iterable[str], encoder: str | None) -> None:
    """Says so where the default encoder, which reads English only, is given texts in another language."""
    from irr.encoders.base import DEFAULT_ENCODER
    from irr.encoders.window import open_window
    from irr.text.languages import language_note

    window = open_window() if encoder in (None, DEFAULT_ENCODER) else None
    if window and (note := language_note(what, texts, window.pieces)):
        display.note(note)


def _build(options: ProgramOptions, limits: Limits | None) -> InferRetrieveRank:
    return options.build(options.read_space(), limits)


def _fields(names: str) -> list[str]:
    from irr.types import EntryKind

    fields = [name.strip() for name in names.split(",")]
    for name in fields:
        if name not in list(EntryKind):
            raise UsageError(f'--fields: no field "{name}"', f"name some of {','.join(EntryKind)}")
    return fields


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.strip()
