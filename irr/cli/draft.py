"""The command `irr draft`: texts in, a label space out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from irr.cli import display
from irr.cli.command import command
from irr.cli.gaps import LANGUAGE_TEXTS, end, propose_changes, refuse
from irr.cli.options import note_language
from irr.cli.options.draft import SIZE, DraftOptions
from irr.config import TOLERATED
from irr.errors import UsageError
from irr.text.numbers import counted

if TYPE_CHECKING:
    from irr.encoders.sentence_transformers import SentenceEncoder
    from irr.frozen.folder import ProgramFolder
    from irr.types import Label
    from irr.workbench.draft.corpus import Corpus
    from irr.workbench.draft.draft import Draft
    from irr.workbench.draft.draft import DraftOptions as Wanted

_SHOWN_LABELS = 20
_READ = 1_000
# A larger share of answers of no use is an error.


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
    from irr.encoders.base import DEFAULT_ENCODER
    from irr.encoders.sentence_transformers import SentenceEncoder
    from irr.frozen.folder import ProgramFolder
    from irr.io.outputs import check_outputs, is_stream, open_output
    from irr.lm.registry import NO_MODEL
    from irr.workbench.draft.corpus import Corpus, texts_of
    from irr.workbench.draft.draft import check_seeds
    from irr.workbench.draft.draft import draft as run
    from irr.workbench.draft.report import write_report

    options.program.lms.check()
    check_outputs({"--output": options.output, "--report": options.report})
    place = ProgramFolder.at(options.freeze) if options.freeze else None
    if options.program.labels or options.program.program:
        propose_changes(options)
        return
    part = {
        "--within": options.program.within or None,
        "--only": options.program.only,
        "--without": options.program.without,
    }
    refuse(part, "there is no label space to take a part of", "--labels FILE or --program DIR")
    rebind = {"--rebind": options.program.rebind or None}
    refuse(rebind, "there is no program", "--program DIR and --labels FILE")
    asked = any(name not in (None, NO_MODEL) for name in options.program.lms.names)
    refuse(
        {"--budget": options.budget, "--lm-texts": options.texts} if not asked else {}, "--lm is not given"
    )
    if asked and is_stream(options.output):
        problem = "the answers of --lm are kept beside the output, and a stream has no folder"
        raise UsageError(problem, "name a file for --output")
    seeds = _seeds(options)
    check_seeds(seeds, options.size or SIZE)
    texts, unread = texts_of(options.input, options.program.column_names)
    note_language("texts", texts[:LANGUAGE_TEXTS], options.program.encoder)
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
    end(unread, bool(stopped))


def _answers(options: DraftOptions) -> Path:
    """Where the answers of a language model are kept until the labels are written."""
    return Path(f"{options.output}.answers")


def _by_model(
    options: DraftOptions, corpus: Corpus, encoder: SentenceEncoder, seeds: Sequence[Label]
) -> tuple[Draft, str]:
    """A draft by a language model, and why it ended early; "" if it did not."""
    from irr.errors import LMError
    from irr.workbench.draft.sorting import sort_under
    from irr.workbench.draft.taxonomy import TaxonomyOptions, propose

    model = next(model for model in options.program.lms.open(options.limits.read()) if model)
    size = (options.size or SIZE) - len(seeds)
    wanted = TaxonomyOptions(
        size, options.texts or _READ, options.budget, options.program.language, options.seed
    )
    answers = _answers(options)
    with display.progress("requests", None) as on_call:
        found = propose(corpus.texts, model, answers, wanted, on_call)
    display.note(f"{counted(found.calls, 'answer')} of {model.name}, {found.unusable:,} of no use")
    stopped = ""
    if not found.labels:
        problem = found.stopped or f"{model.name} proposed no label"
        raise LMError("empty", problem, "allow more calls with --budget, or ask a stronger model")
    if found.stopped:
        stopped = f"{found.stopped}: repeat the call with a larger --budget to go on"
    elif found.unusable > TOLERATED * found.calls:
        stopped = f"{found.unusable:,} of {counted(found.calls, 'answer')} of no use: look at the labels"
    return sort_under(corpus, found.labels, encoder, seeds), stopped


def _wanted(options: DraftOptions, seeds: Sequence[Label]) -> Wanted:
    from irr.workbench.draft.draft import DraftOptions as Wanted

    return Wanted(options.size or SIZE, options.levels or 1, options.seed, tuple(seeds))


def _seeds(options: DraftOptions) -> Sequence[Label]:
    from irr.labels.space import LabelSpace

    build = options.program
    if options.seed_labels is None:
        return ()
    return LabelSpace.read(options.seed_labels, None, build.column_names).labels


def _freeze(drafted: Draft, encoder: SentenceEncoder, options: DraftOptions, place: ProgramFolder) -> None:
    from irr.frozen.freeze import freeze
    from irr.program.program import build
    from irr.workbench.draft.draft import SETTINGS

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
        f"{counted(len(drafted.labels), 'label')} ({seeds:,} given) of {counted(int(counts.sum()), 'text')}, "
        f"{len(counts):,} distinct; {left:,} left over"
    )
    where = f"--program {options.freeze}" if options.freeze else f"--labels {options.output}"
    if options.output != "-":
        display.note(f"now: irr classify {where} --input {options.input} --output out.jsonl")
