"""The command `irr classify`: its options, and what it does with them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from irr.cli import display
from irr.cli.options import (
    ApiBase,
    EncoderName,
    Fields,
    HierarchyName,
    IndexFolder,
    InferLM,
    Labels,
    Language,
    LMName,
    LMOptions,
    ProgramFolder,
    ProgramOptions,
    RankLM,
    RankMethodName,
    Rebind,
    Task,
)
from irr.config import RankMethod
from irr.errors import UsageError
from irr.lm.openai.limits import Limits

EXIT_ROW_ERRORS = 1
# Where finding out how many requests pay comes to an end.
_MOST_REQUESTS = 256


class EngineName(StrEnum):
    """Where a batch is worked on."""

    LOCAL = "local"
    RAY = "ray"


def classify(
    input: Annotated[
        str,
        typer.Option(help='JSONL rows {"id", "text"}, also .gz or .zst; "-" reads stdin.', metavar="FILE"),
    ],
    output: Annotated[
        str,
        typer.Option(
            help='One JSONL row for each input row, compressed if it ends in .gz or .zst; "-" writes stdout.',
            metavar="FILE",
        ),
    ],
    labels: Labels = None,
    program: ProgramFolder = None,
    rebind: Rebind = False,
    top_k: Annotated[int, typer.Option(help="Labels a text.", min=1)] = 10,
    costs: Annotated[bool, typer.Option("--costs", help="Write what each row's calls cost.")] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, and replace an output that is there.")
    ] = False,
    retry_errors: Annotated[
        bool,
        typer.Option(
            "--retry-errors",
            help="Answer again those rows of a finished output that carry an error or did without their "
            "language model.",
        ),
    ] = False,
    summary: Annotated[
        str | None,
        typer.Option(help="Write the summary there, as JSON.", metavar="FILE", show_default=False),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Count the rows, classify a sample of 100, say what all will take, and write no output.",
        ),
    ] = False,
    price_per_million: Annotated[
        str | None,
        typer.Option(
            help="What a million tokens cost, sent and generated: 0.15,0.60.",
            metavar="IN,OUT",
            show_default=False,
        ),
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(
            help="Where to work: here, or on Ray (irr[ray]; on a cluster if RAY_ADDRESS names one)."
        ),
    ] = EngineName.LOCAL,
    workers: Annotated[int, typer.Option(help="Processes that answer, on Ray.", min=1)] = 2,
    encoder: EncoderName = None,
    fields: Fields = None,
    index_folder: IndexFolder = None,
    lm: LMName = None,
    api_base: ApiBase = None,
    infer_lm: InferLM = None,
    rank_lm: RankLM = None,
    rank_method: RankMethodName = RankMethod.AUTO,
    task: Task = None,
    language: Language = None,
    hierarchy: HierarchyName = None,
    concurrency: Annotated[
        str,
        typer.Option(
            help="Requests to a model server at a time; auto finds how many pay, up to 256.", metavar="N|auto"
        ),
    ] = "auto",
    requests_per_minute: Annotated[
        float | None,
        typer.Option(help="Requests to each model, at most.", min=0.001, metavar="N", show_default=False),
    ] = None,
    tokens_per_minute: Annotated[
        float | None,
        typer.Option(
            help="Tokens sent to and from each model, at most.", min=1, metavar="N", show_default=False
        ),
    ] = None,
    patience: Annotated[
        float,
        typer.Option(
            help="Minutes to wait for a model server that is down or asks for a pause; then the run stops. "
            "With 0 rows do without the model.",
            min=0,
            metavar="MINUTES",
        ),
    ] = 60,
) -> None:
    """Classify every text of a file.

    The output has one row for each input row, in the same order, with its labels best first. A run that was
    stopped, in whatever way, goes on where it was when the same call is repeated.

    Exit code 0: all rows were answered; 1: some rows carry an error; 2: the call could not be used.
    """
    from irr.batch import Job, local, run
    from irr.batch.estimate import estimate
    from irr.batch.rows import rows_of
    from irr.batch.tally import Price
    from irr.cli.monitor import Monitor
    from irr.io.outputs import open_output
    from irr.io.streams import open_source

    limits = replace(
        concurrency_limits(concurrency),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        patience=60 * patience,
    )
    lms = LMOptions(lm, api_base, infer_lm, rank_lm, rank_method, task, limits)
    options = ProgramOptions(labels, program, encoder, fields, index_folder, lms, rebind, language, hierarchy)
    space = options.read_space()
    price = Price.parse(price_per_million) if price_per_million else None
    job = Job(input, output, top_k, costs, restart, retry_errors, tuple(options.files()))
    with open_output(summary or os.devnull, Path(input), *job.reads) as report:
        if dry_run:
            with open_source(input) as source:
                expected = estimate(options.build(space), rows_of(source), price)
            display.estimate(expected)
            report.write(expected.model_dump_json(indent=2) + "\n")
            return
        work = local(job)
        if engine is EngineName.RAY:
            from irr.batch.ray_engine import on_ray

            work = on_ray(job, options.elsewhere(), workers)
        with Monitor(price) as monitor:
            tally = run(job, lambda: options.build(space), work, monitor)
        report.write(json.dumps(tally.summary(price), indent=2) + "\n")
    display.summary(tally, price)
    if tally.errors:
        raise typer.Exit(EXIT_ROW_ERRORS)


def concurrency_limits(concurrency: str) -> Limits:
    """Reads `auto` or a number of requests.

    Raises:
        UsageError: If it is neither.
    """
    if concurrency == "auto":
        return Limits(concurrency=_MOST_REQUESTS, auto=True)
    if concurrency.isdecimal() and int(concurrency) > 0:
        return Limits(concurrency=int(concurrency))
    raise UsageError(f'--concurrency: "{concurrency}" is no number of requests', "give auto, or 1 or more")
