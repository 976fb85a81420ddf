"""The command `irr draft`: texts in, a label space out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import irr
from irr.cli import display, options
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import value
from irr.errors import UsageError
from irr.text.strings import counted

if TYPE_CHECKING:
    from irr.workbench.draft import LabelDraft

_SHOWN_LABELS = 20
_LANGUAGE_TEXTS = 50


def draft(
    input_file: Annotated[
        str, value("The texts: JSONL or a table, as irr classify reads them.", "FILE", "--input")
    ],
    output: Annotated[str, value('The drafted labels, as JSONL; "-" writes stdout.', "FILE")],
    size: Annotated[int, value("Labels wanted.", min=2)] = 50,
    levels: Annotated[
        int, value("Levels of labels: with 2 or 3, broader ones stand above.", min=1, max=3)
    ] = 1,
    seed_labels: Annotated[Path | None, value("Keep these labels, and add what is missing.", "FILE")] = None,
    report: Annotated[
        str | None,
        value("Write a page there: a map of the texts, labels, overlaps, what was left over.", "FILE"),
    ] = None,
    seed: Annotated[int, value("The same seed gives the same labels.", min=0)] = 0,
    freeze: Annotated[
        str | None,
        value(
            "Freeze a program for the labels there, in which their example texts count more than their "
            "names: irr classify --program DIR.",
            "DIR",
        ),
    ] = None,
    lm: Annotated[
        str | None,
        value(
            "Language model that drafts: embedded, openai/MODEL, or recorded/FILE. Default: none.",
            "NAME",
            panel="Language models",
        ),
    ] = None,
    lm_texts: Annotated[
        int | None, value("With --lm: texts that the model reads, drawn at random. Default: 1,000.", min=1)
    ] = None,
    budget: Annotated[
        int | None, value("With --lm: requests that may be sent to it.", "CALLS", min=0)
    ] = None,
    language: options.Language = None,
    columns: options.ColumnNames = None,
    encoder: options.Encoder = None,
    index_folder: options.IndexFolder = None,
    api_base: options.APIBase = None,
    concurrency: options.Concurrency = "auto",
    requests_per_minute: options.RequestsPerMinute = None,
    tokens_per_minute: options.TokensPerMinute = None,
    patience: options.Patience = 60,
) -> None:
    """Draft a label space from texts: names, descriptions, aliases, parents, priors and example texts.

    Texts are encoded once and clustered; a cluster is named by the span that stands for it best. The same
    texts, options and seed give the same labels. With --lm a language model summarizes texts in small
    batches, proposes labels, updates them batch by batch and reviews them; its answers are kept beside the
    output, so that a call that was killed goes on when it is repeated. --language says what it writes.

    Exit code 0: all rows were read; 1: some could not be; 2: the call could not be used.
    """
    from irr.cli.program_options import ProgramOptions
    from irr.config import TOLERATED
    from irr.encoders.base import DEFAULT_ENCODER
    from irr.frozen.folder import ProgramFolder
    from irr.io.outputs import check_outputs, is_stream, open_output
    from irr.workbench.draft import SETTINGS, DraftPlan, check_seed_labels, texts_of
    from irr.workbench.draft import draft as run
    from irr.workbench.draft.draft_page import write_page

    source = ProgramOptions.of(locals())
    source.check_models()
    limits = options.limits(concurrency, requests_per_minute, tokens_per_minute, patience)
    check_outputs({"--output": output, "--report": report})
    place = ProgramFolder.at(freeze) if freeze else None
    has_model = lm not in (None, "none")
    for name, given in {"--budget": budget, "--lm-texts": lm_texts}.items():
        if given is not None and not has_model:
            raise UsageError(f"{name} has no effect: --lm is not given", f"leave {name} out")
    if has_model and is_stream(output):
        problem = "the answers of --lm are kept beside the output, and a stream has no folder"
        raise UsageError(problem, "name a file for --output")
    seeds = irr.LabelSpace.read(seed_labels, None, source.column_names).labels if seed_labels else ()
    check_seed_labels(seeds, size)
    texts, unread = texts_of(input_file, source.column_names)
    source.note_language("texts", texts[:_LANGUAGE_TEXTS])
    sentence_encoder = irr.SentenceEncoder(encoder or DEFAULT_ENCODER)
    answers = Path(f"{output}.answers")
    model, _ = source.open_models(limits)
    files = (Path(input_file), seed_labels)
    with (
        open_output(output, *files) as out,
        open_output(report or os.devnull, *files) as page,
        display.progress("texts", None) as on_texts,
        display.progress("requests", None) as on_call,
    ):
        plan = DraftPlan(size, levels, seed, tuple(seeds), lm_texts or 1_000, budget, language)
        progress = {"on_texts": on_texts, "on_call": on_call}
        result = run(texts, sentence_encoder, plan, lm=model, answers=answers, **progress)
        out.writelines(label.model_dump_json(exclude_defaults=True) + "\n" for label in result.labels)
        if report:
            write_page(page, result, Path(input_file).name)
    problem = ""
    if model:
        _, calls, unusable, stopped = result.taxonomy
        display.note(f"{counted(calls, 'answer')} of {model.name}, {unusable:,} of no use")
        if stopped:
            problem = f"{stopped}: repeat the call with a larger --budget to go on"
        elif unusable > TOLERATED * calls:
            problem = f"{unusable:,} of {counted(calls, 'answer')} of no use: look at the labels"
        else:
            answers.unlink(missing_ok=True)
    if place:
        with display.progress("label entries", None) as shown:
            program = irr.build(
                result.labels,
                encoder=sentence_encoder,
                settings=SETTINGS,
                index_folder=index_folder,
                progress=shown,
            )
        irr.freeze(program, place)
    _show_draft(result, output, len(seeds))
    if output != "-":
        where = f"--program {freeze}" if freeze else f"--labels {output}"
        display.note(f"now: irr classify {where} --input {input_file} --output out.jsonl")
    if problem:
        display.note(problem)
    if unread:
        display.note(f"{counted(unread, 'row')} that could not be read, or held nothing to read")
    if problem or unread:
        raise typer.Exit(EXIT_ROW_ERRORS)


def _show_draft(result: LabelDraft, output: str, seeds: int) -> None:
    """Shows the largest labels, and how many texts they hold."""
    import numpy as np

    counts = result.corpus.counts
    held = np.bincount(result.label_of[result.label_of >= 0], minlength=len(result.labels)).tolist()
    largest = sorted(zip(result.labels, held, strict=True), key=lambda one: -one[1])[:_SHOWN_LABELS]
    rows = [(label.name, count, ", ".join(label.aliases)) for label, count in largest]
    if output != "-":
        display.table(("label", "texts", "also called"), rows, "the largest labels drafted", right=(1,))
    texts = f"{counted(int(counts.sum()), 'text')}, {len(counts):,} distinct"
    left_over = f"{(result.label_of < 0).sum():,} left over"
    display.note(f"{counted(len(result.labels), 'label')} ({seeds:,} given) of {texts}; {left_over}")
