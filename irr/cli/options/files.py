"""Options that name a label file, its columns, the encoder, and the folder of indexes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from typer import Option

from irr.cli import display

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
        " Default: the fields' own names, whatever their case.",
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


def note_language(what: str, texts: Iterable[str], encoder: str | None) -> None:
    """Warns if the default encoder, which reads English only, is given texts in another language."""
    from irr.encoders.base import DEFAULT_ENCODER
    from irr.encoders.window import open_window

    window = open_window() if encoder in (None, DEFAULT_ENCODER) else None
    if window and (note := window.language_note(what, texts)):
        display.note(note)
