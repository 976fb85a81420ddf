"""The command `irr classify`: a file of texts in, a row of labels for each out."""

from __future__ import annotations

import json
import os
import shlex
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from irr.cli import display, options
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import flag, value
from irr.errors import OtherRunError, OutputError
from irr.text.strings import counted

if TYPE_CHECKING:
    from irr.batch import Forecast, Price, Tally
    from irr.calibrate.calibration import Calibration

# Rows of the sample that tells the language.
_LANGUAGE_ROWS = 50


def classify(
    input_file: Annotated[
        str,
        value(
            'JSONL rows {"id", "text"}, or .csv, .tsv, .xlsx or .parquet with these columns; .gz or '
            '.zst may follow; "-" reads JSONL from stdin.',
            "FILE",
            "--input",
        ),
    ],
    output: Annotated[
        str,
        value(
            "One row for each input row: JSONL, or a table if it ends in .csv, .tsv, .xlsx or .parquet; "
            'compressed if it ends in .gz or .zst; "-" writes JSONL to stdout.',
            "FILE",
        ),
    ],
    top_k: Annotated[
        int | None, value("Labels a text, at most. Default: 10, if nothing else chooses them.", min=1)
    ] = None,
    costs: Annotated[bool, flag("--costs", "Write the usage of language models into each row.")] = False,
    restart: Annotated[bool, flag("--restart", "Begin anew, and replace an existing output.")] = False,
    retry_errors: Annotated[
        bool,
        flag(
            "--retry-errors",
            "Answer the rows of a finished output again that carry an error or were answered without "
            "their language model.",
        ),
    ] = False,
    summary: Annotated[str | None, value("Write the summary there, as JSON.", "FILE")] = None,
    dry_run: Annotated[
        bool,
        flag(
            "--dry-run",
            "Count the rows, classify a sample of 100, forecast time and cost, and write no output.",
        ),
    ] = False,
    price_per_million: options.PricePerMillion = None,
    engine: Annotated[
        Literal["local", "ray"],
        value("Classify in this process, or on Ray (extra ray; a cluster if RAY_ADDRESS names one)."),
    ] = "local",
    workers: Annotated[int, value("Processes that answer, on Ray.", min=1)] = 2,
    min_probability: options.MinProbability = None,
    precision: options.Precision = None,
    recall: options.Recall = None,
    best_f1: options.BestF1 = False,
    scope: options.Scope = None,
    labels: options.Labels = None,
    language: options.Language = None,
    columns: options.ColumnNames = None,
    encoder: options.Encoder = None,
    fields: options.Fields = None,
    hierarchy: options.HierarchyChoice = None,
    settings: options.SettingValues = None,
    index_folder: options.IndexFolder = None,
    index_server: options.IndexServer = None,
    lm: options.LM = None,
    api_base: options.APIBase = None,
    infer_lm: options.InferLM = None,
    rank_lm: options.RankLM = None,
    rank_method: options.RankMethodChoice = "auto",
    task: options.Task = None,
    program: options.Program = None,
    rebind: options.Rebind = False,
    within: options.Within = None,
    only: options.Only = None,
    without: options.Without = None,
    concurrency: options.Concurrency = "auto",
    requests_per_minute: options.RequestsPerMinute = None,
    tokens_per_minute: options.TokensPerMinute = None,
    patience: options.Patience = 60,
) -> None:
    """Classify every text of a file.

    The output has one row for each input row, in the same order, with its labels best first. Repeat the same
    call to continue a run that was stopped.

    Exit code 0: all rows were answered; 1: some rows carry an error, or more than a tenth were answered
    without the language model; 2: the call could not be used, or the model server refuses it.
    """
    from irr.batch import Job, Price, forecast, local, rows_of, run
    from irr.cli.monitor import batch_monitor
    from irr.cli.program_options import ProgramOptions
    from irr.io.outputs import check_outputs, open_output
    from irr.io.records import open_rows

    source = ProgramOptions.of(locals())
    check_outputs({"--output": output, "--summary": summary})
    limits = options.limits(concurrency, requests_per_minute, tokens_per_minute, patience)
    decision = options.decision(min_probability, precision, recall, best_f1, scope)
    space = source.read_space()
    price = Price.parse(price_per_million) if price_per_million else None
    calibration = source.read_calibration(decision)
    most, reads = top_k or (None if decision.cuts else 10), tuple(source.files_read)
    names = source.column_names
    job = Job(input_file, output, most, costs, restart, retry_errors, reads, names, decision)
    if Path(input_file).is_file():
        with open_rows(input_file, job.columns) as rows:
            source.note_language("texts", [row.text for row in islice(rows_of(rows), _LANGUAGE_ROWS)])
    with open_output(summary or os.devnull, Path(input_file), *job.reads) as summary_file:
        if dry_run:
            with open_rows(input_file, job.columns) as rows:
                expected = forecast(source.build(space, limits), rows_of(rows), price)
            _show_forecast(expected)
            summary_file.write(expected.model_dump_json(indent=2) + "\n")
            return
        work = local(job)
        if engine == "ray":
            from irr.batch import on_ray

            work = on_ray(job, source.builder(limits), workers)
        try:
            with batch_monitor(price) as monitor:
                tally = run(job, lambda: source.build(space, limits), work, monitor)
        except OtherRunError as e:
            anew = shlex.join(["irr", *sys.argv[1:], "--restart"])
            raise OutputError(e.path, e.problem, f"name another output, or replace it with: {anew}") from e
        summary_file.write(json.dumps(tally.summary(price, calibration), indent=2) + "\n")
    _show_summary(tally, price, calibration)
    if tally.errors or tally.without_model:
        raise typer.Exit(EXIT_ROW_ERRORS)


def _show_summary(tally: Tally, price: Price | None, calibration: Calibration | None) -> None:
    """Shows the pace of a run, its rows without an answer, its costs, and whether its texts are unusual."""
    from irr.calibrate.calibration import SHIFTED, UNUSUAL, is_shifted, unusual

    texts = counted(tally.texts, "text")
    if tally.without_model:
        display.note(display.without_model(tally.fallbacks, tally.texts))
    pace = f" ({tally.texts / tally.seconds:,.1f}/s)" if tally.seconds else ""
    display.note(f"{texts} in {display.duration(tally.seconds)}{pace}")
    if tally.errors:
        display.note(f'{tally.errors:,} of {texts} with an error: see "error" in their rows')
    if tally.abstained:
        display.note(f'{tally.abstained:,} of {texts} without labels ("abstained")')
    if tally.fallbacks and not tally.without_model:
        unaided = "answered without the language model"
        display.note(f'{tally.fallbacks:,} of {texts} {unaided}: see "fallbacks" in their rows')
    for line in display.costs(tally.costs):
        display.note(line)
    if price:
        display.note(f"price: {price.of(tally.usage):,.2f}")
    if calibration and is_shifted(tally.scope, calibration.texts):
        display.note(
            f"these texts are unlike the {calibration.texts:,} that the program was calibrated on "
            f"(p < {SHIFTED:g}; {unusual(tally.scope):.0%} are as unusual as the most unusual {UNUSUAL:.0%} "
            "of those): probabilities and promises may not hold, so calibrate on some of these"
        )


def _show_forecast(expected: Forecast) -> None:
    """Shows the expected time and cost of a batch."""
    bad = f", {expected.bad_rows:,} of them bad" if expected.bad_rows else ""
    display.say(f"{counted(expected.rows, 'row')}{bad}")
    display.say(f"about {display.duration(expected.seconds)} at the pace of {expected.sample} of them")
    if expected.calls:
        tokens = f"{expected.prompt_tokens:,} prompt tokens, {expected.completion_tokens:,} completion tokens"
        display.say(f"about {counted(expected.calls, 'call')}, {tokens}")
    if expected.price is not None:
        display.say(f"about {expected.price:,.2f} in the unit of the price")
