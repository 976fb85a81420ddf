"""The command `irr classify`: a file of texts in, a row of labels for each out."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import DecisionOptions, LimitOptions, PricePerMillion, ProgramOptions, note_language
from irr.errors import OtherRunError, OutputError
from irr.text.numbers import counted

if TYPE_CHECKING:
    from irr.batch import Forecast, Price, Tally
    from irr.calibrate.calibration import Calibration


# Rows of the sample that tells the language.
_LANGUAGE_ROWS = 50


@dataclass(frozen=True, kw_only=True)
class ClassifyOptions:
    """The input, the output, the program, and how to classify."""

    input: Annotated[
        str,
        Option(
            help='JSONL rows {"id", "text"}, or .csv, .tsv, .xlsx or .parquet with these columns; .gz or '
            '.zst may follow; "-" reads JSONL from stdin.',
            metavar="FILE",
        ),
    ]
    output: Annotated[
        str,
        Option(
            help="One row for each input row: JSONL, or a table if it ends in .csv, .tsv, .xlsx or .parquet; "
            'compressed if it ends in .gz or .zst; "-" writes JSONL to stdout.',
            metavar="FILE",
        ),
    ]
    top_k: Annotated[
        int | None, Option(help="Labels a text, at most. Default: 10, if nothing else chooses them.", min=1)
    ] = None
    costs: Annotated[bool, Option(help="Write the usage of language models into each row.")] = False
    restart: Annotated[bool, Option(help="Begin anew, and replace an existing output.")] = False
    retry_errors: Annotated[
        bool,
        Option(
            help="Answer the rows of a finished output again that carry an error or were answered without "
            "their language model."
        ),
    ] = False
    summary: Annotated[str | None, Option(help="Write the summary there, as JSON.", metavar="FILE")] = None
    dry_run: Annotated[
        bool,
        Option(help="Count the rows, classify a sample of 100, forecast time and cost, and write no output."),
    ] = False
    price_per_million: PricePerMillion = None
    engine: Annotated[
        Literal["local", "ray"],
        Option(help="Classify in this process, or on Ray (irr[ray]; on a cluster if RAY_ADDRESS names one)."),
    ] = "local"
    workers: Annotated[int, Option(help="Processes that answer, on Ray.", min=1)] = 2
    decision: DecisionOptions
    program: ProgramOptions
    limits: LimitOptions


@command("classify --labels skills.jsonl --input ads.jsonl --output out.jsonl")
def classify(options: ClassifyOptions) -> None:
    """Classify every text of a file.

    The output has one row for each input row, in the same order, with its labels best first. Repeat the same
    call to continue a run that was stopped.

    Exit code 0: all rows were answered; 1: some rows carry an error, or more than a tenth were answered
    without the language model; 2: the call could not be used, or the model server refuses it.
    """
    from irr.batch import Job, Price, forecast, local, rows_of, run
    from irr.cli.monitor import Monitor
    from irr.io.outputs import check_outputs, open_output
    from irr.io.records import open_rows

    check_outputs({"--output": options.output, "--summary": options.summary})
    limits, decision = options.limits.read(), options.decision.read()
    program = options.program
    space = program.read_space()
    price = Price.parse(options.price_per_million) if options.price_per_million else None
    calibration = program.calibration(decision)
    job = Job(
        options.input,
        options.output,
        options.top_k or (None if decision.cuts else 10),
        options.costs,
        options.restart,
        options.retry_errors,
        tuple(program.reads),
        program.column_names,
        decision,
    )
    if Path(job.input).is_file():
        with open_rows(job.input, job.columns) as source:
            sample = [row.text for row in islice(rows_of(source), _LANGUAGE_ROWS)]
        note_language("texts", sample, program.encoder_name)
    with open_output(options.summary or os.devnull, Path(job.input), *job.reads) as summary:
        if options.dry_run:
            with open_rows(job.input, job.columns) as source:
                expected = forecast(program.build(space, limits), rows_of(source), price)
            _show_forecast(expected)
            summary.write(expected.model_dump_json(indent=2) + "\n")
            return
        work = local(job)
        if options.engine == "ray":
            from irr.batch.ray_engine import on_ray

            work = on_ray(job, program.elsewhere(limits), options.workers)
        try:
            with Monitor(price) as monitor:
                tally = run(job, lambda: program.build(space, limits), work, monitor)
        except OtherRunError as e:
            anew = shlex.join(["irr", *sys.argv[1:], "--restart"])
            raise OutputError(e.path, e.problem, f"name another output, or replace it with: {anew}") from e
        summary.write(json.dumps(tally.summary(price, calibration), indent=2) + "\n")
    _show_summary(tally, price)
    _show_shift(tally, calibration)
    if tally.errors or tally.without_model:
        raise typer.Exit(EXIT_ROW_ERRORS)


def _show_summary(tally: Tally, price: Price | None) -> None:
    """Shows the pace of a run, its rows without an answer, and its costs."""
    if tally.without_model:
        display.note(display.without_model(tally.fallbacks, tally.texts))
    pace = f" ({tally.texts / tally.seconds:,.1f}/s)" if tally.seconds else ""
    texts = counted(tally.texts, "text")
    display.note(f"{texts} in {display.duration(tally.seconds)}{pace}")
    if tally.errors:
        display.note(f'{tally.errors:,} of {texts} with an error: see "error" in their rows')
    if tally.abstained:
        display.note(f'{tally.abstained:,} of {texts} without labels ("abstained")')
    if tally.fallbacks and not tally.without_model:
        display.note(
            f"{tally.fallbacks:,} of {texts} answered without the language model: "
            'see "fallbacks" in their rows'
        )
    for line in display.costs(tally.costs):
        display.note(line)
    if price:
        display.note(f"price: {price.of(tally.usage):,.2f}")


def _show_shift(tally: Tally, calibration: Calibration | None) -> None:
    """Warns if the texts are unlike the calibration texts."""
    from irr.calibrate.scope import SHIFTED, UNUSUAL, is_shifted, unusual

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
