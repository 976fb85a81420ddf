"""The command `irr draft`: texts in, a label space out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text
from typer import Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import BuildOptions, note_language

if TYPE_CHECKING:
    from irr.draft.draft import Draft
    from irr.draft.draft import DraftOptions as Wanted
    from irr.encoders.sentence_transformers import SentenceEncoder
    from irr.frozen.place import Place
    from irr.io.columns import Columns
    from irr.types import Label

_LANGUAGE_TEXTS = 50
_SHOWN_LABELS = 20
_SIZE = 50


@dataclass(frozen=True, kw_only=True)
class DraftOptions:
    """Which texts to draft from, what is wanted, and where it goes."""

    input: Annotated[
        str, Option(help="The texts: JSONL or a table, as irr classify reads them.", metavar="FILE")
    ]
    output: Annotated[str, Option(help='The drafted labels, as JSONL; "-" writes stdout.', metavar="FILE")]
    size: Annotated[int | None, Option(help=f"Labels wanted. Default: {_SIZE}.", min=2)] = None
    levels: Annotated[
        int | None,
        Option(help="Levels of labels: with 2 or 3, broader ones stand above. Default: 1.", min=1, max=3),
    ] = None
    seed_labels: Annotated[
        Path | None, Option(help="Keep these labels, and add what is missing.", metavar="FILE")
    ] = None
    seed: Annotated[int, Option(help="The same seed gives the same labels.", min=0)] = 0
    freeze: Annotated[
        str | None,
        Option(
            help="Freeze a program for the labels there, in which their example texts count more than their "
            "names: irr classify --program DIR.",
            metavar="DIR",
        ),
    ] = None
    build: BuildOptions


@command("draft --input texts.jsonl --output labels.jsonl --size 100")
def draft(options: DraftOptions) -> None:
    """Draft a label space from texts: names, descriptions, aliases, parents, priors and example texts.

    Texts are encoded once and clustered; a cluster is named by the span that stands for it best. The same
    texts, options and seed give the same labels.

    Exit code 0: all rows were read; 1: some could not be; 2: the call could not be used.
    """
    from irr.draft.corpus import Corpus
    from irr.draft.draft import draft as run
    from irr.encoders.base import DEFAULT_ENCODER
    from irr.encoders.sentence_transformers import SentenceEncoder
    from irr.frozen.place import Place
    from irr.io.outputs import check_outputs, open_output

    check_outputs({"--output": options.output})
    place = Place.at(options.freeze) if options.freeze else None
    seeds = _seeds(options)
    texts, unread = read_texts(options.input, options.build.column_names)
    note_language("texts", texts[:_LANGUAGE_TEXTS], options.build.encoder)
    encoder = SentenceEncoder(options.build.encoder or DEFAULT_ENCODER)
    with open_output(options.output, Path(options.input), options.seed_labels) as out:
        with display.progress("texts", None) as on_texts:
            corpus = Corpus.read(texts, encoder, on_texts)
        drafted = run(corpus, encoder, _wanted(options, seeds))
        out.writelines(label.model_dump_json(exclude_defaults=True) + "\n" for label in drafted.labels)
    if place:
        _freeze(drafted, encoder, options, place)
    _show(drafted, options, len(seeds))
    if unread:
        display.note(f"{unread:,} rows could not be read, or hold nothing to read")
        raise typer.Exit(EXIT_ROW_ERRORS)


def _wanted(options: DraftOptions, seeds: Sequence[Label]) -> Wanted:
    from irr.draft.draft import DraftOptions as Wanted

    return Wanted(options.size or _SIZE, options.levels or 1, options.seed, tuple(seeds))


def _seeds(options: DraftOptions) -> Sequence[Label]:
    from irr.labels.space import LabelSpace

    build = options.build
    if options.seed_labels is None:
        return ()
    return LabelSpace.read(options.seed_labels, None, build.column_names).labels


def read_texts(name: str, columns: Columns) -> tuple[list[str], int]:
    """The texts of an input, and how many of its rows hold none.

    Raises:
        TextsError: If it cannot be read.
    """
    from irr.batch.rows import rows_of
    from irr.io.records import open_rows
    from irr.text.words import clean

    with open_rows(name, columns) as source:
        rows = [row.text if row.error is None else "" for row in rows_of(source)]
    texts = [text for text in rows if clean(text)]
    return texts, len(rows) - len(texts)


def _freeze(drafted: Draft, encoder: SentenceEncoder, options: DraftOptions, place: Place) -> None:
    from irr.builder import build
    from irr.draft.draft import SETTINGS
    from irr.frozen.freeze import freeze

    with display.progress("label entries", None) as on_entries:
        program = build(
            drafted.labels,
            encoder=encoder,
            settings=SETTINGS,
            index_folder=options.build.index_folder,
            progress=on_entries,
        )
    freeze(program, place)


def _show(drafted: Draft, options: DraftOptions, seeds: int) -> None:
    import numpy as np

    counts = drafted.corpus.counts
    held = np.bincount(drafted.label_of[drafted.label_of >= 0], minlength=len(drafted.labels))
    table = Table("label", "texts", "also called", title="the largest labels drafted")
    table.columns[1].justify = "right"
    order = sorted(range(len(held)), key=lambda number: -held[number])
    for number in order[:_SHOWN_LABELS]:
        label = drafted.labels[number]
        table.add_row(Text(label.name), f"{held[number]:,}", Text(", ".join(label.aliases)))
    if options.output != "-":
        display.show(table)
    left = int((drafted.label_of < 0).sum())
    display.note(
        f"{len(drafted.labels):,} labels ({seeds:,} of them given) of {int(counts.sum()):,} texts, "
        f"{len(counts):,} of them distinct; {left:,} were left over"
    )
    where = f"--program {options.freeze}" if options.freeze else f"--labels {options.output}"
    if options.output != "-":
        display.note(f"now: irr classify {where} --input {options.input} --output out.jsonl")
