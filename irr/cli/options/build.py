"""Options that say what a program is built of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from typer import Option

from irr.cli import display
from irr.cli.options.files import ColumnNames, Encoder, IndexFolder, Labels, Language, note_language
from irr.cli.options.models import LMOptions
from irr.errors import UsageError

if TYPE_CHECKING:
    from irr.cli.options.models import Models
    from irr.config import Settings
    from irr.io.columns import Columns
    from irr.labels.space import LabelSpace
    from irr.lm.server_limits import Limits
    from irr.program.program import InferRetrieveRank

# The names of `irr.config.Hierarchy`, whose import would slow `irr --help`; a test compares them.
HierarchyName = Literal["none", "closed", "leaves"]


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """The labels, encoder, settings and models of a program."""

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
    lms: LMOptions = field(default_factory=LMOptions)

    def read_space(self) -> LabelSpace:
        """Reads the label space, and checks the options before any slow work.

        Raises:
            UsageError: If options contradict each other.
            LabelSpaceError: If the labels cannot be used.
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
            raise UsageError(f'--index: "{self.index}" is not a URL', "write it as http://HOST:PORT")

    @property
    def encoder_name(self) -> str | None:
        """The name of the encoder; None for the default."""
        return self.encoder

    @property
    def column_names(self) -> Columns:
        """The columns that hold the fields.

        Raises:
            UsageError: If --columns is malformed.
        """
        from irr.io.columns import Columns

        return Columns.parse(self.columns)

    @property
    def reads(self) -> list[Path]:
        """The files that are read, which no output may replace."""
        return [self.labels] if self.labels else []

    def build(
        self, space: LabelSpace, limits: Limits | None = None, models: Models | None = None
    ) -> InferRetrieveRank:
        """Builds the program, with these models for infer and rank if given; a bar shows the progress."""
        from irr.program.program import build

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
        """The settings.

        Raises:
            UsageError: If a setting or its value is unknown.
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
