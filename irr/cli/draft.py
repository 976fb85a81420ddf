"""The command `irr draft`: texts in, a label space out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import LimitOptions, ProgramOptions, note_language
from irr.errors import UsageError

if TYPE_CHECKING:
    from irr.draft.corpus import Corpus
    from irr.draft.draft import Draft
    from irr.draft.draft import DraftOptions as Wanted
    from irr.draft.gaps import Seen
    from irr.encoders.sentence_transformers import SentenceEncoder
    from irr.frozen.place import Place
    from irr.io.columns import Columns
    from irr.labels.changes import Change
    from irr.types import Label

_LANGUAGE_TEXTS = 50
_SHOWN_LABELS = 20
_SIZE = 50
# A larger share of answers of no use is an error.
_TOLERATED = 0.1


@dataclass(frozen=True, kw_only=True)
class DraftOptions:
    """Which texts to draft from, what is wanted, and where it goes."""

    input: Annotated[
        str, Option(help="The texts: JSONL or a table, as irr classify reads them.", metavar="FILE")
    ]
    output: Annotated[
        str,
        Option(
            help='The drafted labels, or with --labels the changes, as JSONL; "-" writes stdout.',
            metavar="FILE",
        ),
    ]
    size: Annotated[int | None, Option(help=f"Labels wanted. Default: {_SIZE}.", min=2)] = None
    levels: Annotated[
        int | None,
        Option(help="Levels of labels: with 2 or 3, broader ones stand above. Default: 1.", min=1, max=3),
    ] = None
    seed_labels: Annotated[
        Path | None, Option(help="Keep these labels, and add what is missing.", metavar="FILE")
    ] = None
    report: Annotated[
        str | None,
        Option(
            help="Write a page there: a map of the texts, labels, overlaps, what was left over.",
            metavar="FILE",
        ),
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
    texts: Annotated[
        int, Option("--lm-texts", help="With --lm: texts that the model reads, drawn at random.", min=1)
    ] = 1_000
    budget: Annotated[
        int | None, Option(help="With --lm: requests that may be sent to it.", metavar="CALLS", min=0)
    ] = None
    program: ProgramOptions
    limits: LimitOptions


@command("draft --input texts.jsonl --output labels.jsonl --size 100")
def draft(options: DraftOptions) -> None:
    """Draft a label space from texts: names, descriptions, aliases, parents, priors and example texts.

    Texts are encoded once and clustered; a cluster is named by the span that stands for it best. The same
    texts, options and seed give the same labels. With --lm a language model summarizes texts in small
    batches, proposes labels, updates them batch by batch and reviews them; its answers are kept beside the
    output, so that a call that was killed goes on when it is repeated. --language says what it writes.

    With --labels or --program, the texts are put into that label space instead, and what it lacks is written
    as changes: new labels, splits and merges with their evidence, which irr labels --apply makes.

    Exit code 0: all rows were read; 1: some could not be; 2: the call could not be used.
    """
    from irr.draft.corpus import Corpus
    from irr.draft.draft import check_seeds
    from irr.draft.draft import draft as run
    from irr.draft.report import write_report
    from irr.encoders.base import DEFAULT_ENCODER
    from irr.encoders.sentence_transformers import SentenceEncoder
    from irr.frozen.place import Place
    from irr.io.outputs import check_outputs, is_stream, open_output
    from irr.lm.registry import NO_MODEL

    options.program.lms.check()
    check_outputs({"--output": options.output, "--report": options.report})
    place = Place.at(options.freeze) if options.freeze else None
    if options.program.labels or options.program.program:
        _gaps(options)
        return
    asked = any(name not in (None, NO_MODEL) for name in options.program.lms.names)
    if asked and is_stream(options.output):
        problem = "the answers of --lm are kept beside the output, and a stream has no folder"
        raise UsageError(problem, "name a file for --output")
    seeds = _seeds(options)
    check_seeds(seeds, options.size or _SIZE)
    texts, unread = read_texts(options.input, options.program.column_names)
    note_language("texts", texts[:_LANGUAGE_TEXTS], options.program.encoder)
    encoder = SentenceEncoder(options.program.encoder or DEFAULT_ENCODER)
    reads = (Path(options.input), options.seed_labels)
    with (
        open_output(options.output, *reads) as out,
        open_output(options.report or os.devnull, *reads) as report,
    ):
        with display.progress("texts", None) as on_texts:
            corpus = Corpus.read(texts, encoder, on_texts)
        stopped = ""
        if asked:
            drafted, stopped = _by_model(options, corpus, encoder, seeds)
        else:
            drafted = run(corpus, encoder, _wanted(options, seeds))
        out.writelines(label.model_dump_json(exclude_defaults=True) + "\n" for label in drafted.labels)
        if options.report:
            write_report(report, drafted, Path(options.input).name)
    if asked and not stopped:
        _answers(options).unlink(missing_ok=True)
    if place:
        _freeze(drafted, encoder, options, place)
    _show(drafted, options, len(seeds))
    if stopped:
        display.note(stopped)
    _end(unread, bool(stopped))


def _answers(options: DraftOptions) -> Path:
    """Where the answers of a language model are kept until the labels are written."""
    return Path(f"{options.output}.answers")


def _end(unread: int, stopped: bool = False) -> None:
    if unread:
        display.note(f"{unread:,} rows could not be read, or hold nothing to read")
    if unread or stopped:
        raise typer.Exit(EXIT_ROW_ERRORS)


def _by_model(
    options: DraftOptions, corpus: Corpus, encoder: SentenceEncoder, seeds: Sequence[Label]
) -> tuple[Draft, str]:
    """A draft by a language model, and why it ended early; "" if it did not."""
    from irr.draft.sorting import sort_under
    from irr.draft.taxonomy import TaxonomyOptions, propose
    from irr.errors import LMError

    model = next(model for model in options.program.lms.open(options.limits.read()) if model)
    size = (options.size or _SIZE) - len(seeds)
    wanted = TaxonomyOptions(size, options.texts, options.budget, options.program.language, options.seed)
    answers = _answers(options)
    with display.progress("requests", None) as on_call:
        found = propose(corpus.texts, model, answers, wanted, on_call)
    display.note(f"{found.calls:,} answers of {model.name}, {found.unusable:,} of them of no use")
    stopped = ""
    if not found.labels:
        problem = found.stopped or f"{model.name} proposed no label"
        raise LMError("empty", problem, "allow more calls with --budget, or ask a stronger model")
    if found.stopped:
        stopped = f"{found.stopped}: repeat the call with a larger --budget to go on"
    elif found.unusable > _TOLERATED * found.calls:
        stopped = f"{found.unusable:,} of {found.calls:,} answers were of no use: look at the labels"
    return sort_under(corpus, found.labels, encoder, seeds), stopped


def _gaps(options: DraftOptions) -> None:
    from irr.draft.corpus import Corpus
    from irr.draft.gaps import GapOptions, find_gaps, look
    from irr.io.outputs import open_output

    given = {
        "--size": options.size,
        "--levels": options.levels,
        "--seed-labels": options.seed_labels,
        "--freeze": options.freeze,
        "--report": options.report,
    }
    for name, value in given.items():
        if value is not None:
            raise UsageError(f"{name} is for a draft without labels", "leave it out, or leave out --labels")
    space = options.program.read_space()
    texts, unread = read_texts(options.input, options.program.column_names)
    note_language("texts", texts[:_LANGUAGE_TEXTS], options.program.encoder_name)
    with open_output(options.output, Path(options.input), *options.program.reads) as out:
        program = options.program.build(space)
        with display.progress("texts encoded", None) as on_texts:
            corpus = Corpus.read(texts, program.encoder, on_texts)
        wanted = GapOptions()
        with display.progress("texts", len(corpus)) as on_text:
            seen = look(program, corpus, wanted, on_text)
        changes = find_gaps(program, seen, wanted)
        out.writelines(change.as_line() + "\n" for change in changes)
    _show_gaps(changes, seen, options.output)
    _end(unread)


def _show_gaps(changes: Sequence[Change], seen: Seen, output: str) -> None:
    kinds = Counter(change.change for change in changes)
    if output != "-" and changes:
        rows = [
            (change.change, str(change), f"{change.evidence.get('texts', 0):,}")
            for change in changes[:_SHOWN_LABELS]
        ]
        display.table(("change", "what", "texts"), rows, "the first changes proposed", right=(2,))
    display.note(
        f"{int(seen.unsure.sum()):,} of {len(seen.corpus):,} distinct texts are unsure; proposed are "
        f"{kinds['new']:,} new labels, {kinds['split']:,} splits and {kinds['merge']:,} merges"
    )
    if output != "-" and changes:
        display.note(f"strike what is wrong, then: irr labels LABELS --apply {output} --output next.jsonl")


def _wanted(options: DraftOptions, seeds: Sequence[Label]) -> Wanted:
    from irr.draft.draft import DraftOptions as Wanted

    return Wanted(options.size or _SIZE, options.levels or 1, options.seed, tuple(seeds))


def _seeds(options: DraftOptions) -> Sequence[Label]:
    from irr.labels.space import LabelSpace

    build = options.program
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
            index_folder=options.program.index_folder,
            progress=on_entries,
        )
    freeze(program, place)


def _show(drafted: Draft, options: DraftOptions, seeds: int) -> None:
    import numpy as np

    counts = drafted.corpus.counts
    held = np.bincount(drafted.label_of[drafted.label_of >= 0], minlength=len(drafted.labels))
    order = sorted(range(len(held)), key=lambda number: -held[number])[:_SHOWN_LABELS]
    largest = [(drafted.labels[number], held[number]) for number in order]
    rows = [(label.name, f"{texts:,}", ", ".join(label.aliases)) for label, texts in largest]
    if options.output != "-":
        display.table(("label", "texts", "also called"), rows, "the largest labels drafted", right=(1,))
    left = int((drafted.label_of < 0).sum())
    display.note(
        f"{len(drafted.labels):,} labels ({seeds:,} of them given) of {int(counts.sum()):,} texts, "
        f"{len(counts):,} of them distinct; {left:,} were left over"
    )
    where = f"--program {options.freeze}" if options.freeze else f"--labels {options.output}"
    if options.output != "-":
        display.note(f"now: irr classify {where} --input {options.input} --output out.jsonl")
