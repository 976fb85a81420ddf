"""The options that commands share, and the program that they name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from irr import display
from irr.errors import UsageError
from irr.settings import Settings
from irr.types import EntryKind

if TYPE_CHECKING:
    from irr.labels import LabelSpace
    from irr.pipeline import InferRetrieveRank

Labels = Annotated[
    Path | None,
    typer.Option(
        help="Label file: .jsonl, .csv, or .txt with one name a line.", metavar="FILE", show_default=False
    ),
]
ProgramFolder = Annotated[
    Path | None,
    typer.Option(
        "--program",
        help="A frozen program. It brings its labels, encoder and settings.",
        metavar="DIR",
        show_default=False,
    ),
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


@dataclass(frozen=True)
class ProgramOptions:
    """Which program to run: a frozen one, or one built for a label file."""

    labels: Path | None
    program: Path | None
    encoder: str | None
    fields: str | None
    index_folder: Path | None

    def read_space(self) -> LabelSpace:
        """Reads the label space, and checks that the options fit together, before anything slow is done.

        Raises:
            UsageError: If they do not.
            LabelSpaceError: If the labels are unusable.
            ProgramError: If the frozen program is.
        """
        from irr.frozen import read_labels
        from irr.labels import LabelSpace

        self._settings()
        if self.program is None:
            if self.labels is None:
                raise UsageError("no labels", "give --labels FILE, or --program DIR")
            return LabelSpace.read(self.labels)
        for name, value in (("--encoder", self.encoder), ("--fields", self.fields)):
            if value is not None:
                raise UsageError(f"{name} is fixed in a frozen program", "leave it out")
        space = read_labels(self.program)
        if self.labels and LabelSpace.read(self.labels).fingerprint != space.fingerprint:
            hint = "leave --labels out, or freeze a program for these labels"
            raise UsageError(f"{self.labels} is not the label space of {self.program}", hint)
        return space

    def build(self, space: LabelSpace) -> InferRetrieveRank:
        """Builds or loads the program, with progress while its index is made."""
        from irr.frozen import load
        from irr.pipeline import build

        with display.progress("label entries", None) as on_entries:
            if self.program is not None:
                return load(self.program, index_folder=self.index_folder, progress=on_entries)
            return build(
                space,
                encoder=self.encoder,
                settings=self._settings(),
                index_folder=self.index_folder,
                progress=on_entries,
            )

    def _settings(self) -> Settings:
        if self.fields is None:
            return Settings()
        known = [kind.value for kind in EntryKind]
        names = [name.strip() for name in self.fields.split(",")]
        for name in names:
            if name not in known:
                raise UsageError(f'--fields: no field "{name}"', f"name some of {','.join(known)}")
        return Settings(fields=tuple(EntryKind(name) for name in names))
