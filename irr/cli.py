"""The command line: arguments, a call, an exit code."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from irr import display
from irr.errors import IrrError, UsageError
from irr.lm import NO_MODEL
from irr.options import (
    ApiBase,
    EncoderName,
    Fields,
    IndexFolder,
    InferLM,
    Labels,
    LMName,
    LMOptions,
    ProgramFolder,
    ProgramOptions,
    RankLM,
    RankMethodName,
    Task,
)
from irr.settings import RankMethod

EXIT_ROW_ERRORS = 1
EXIT_UNUSABLE = 2
EXIT_TERMINATED = 143

app = typer.Typer(
    name="irr",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Puts any text into a label space of ten to a million labels, without training.",
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from irr import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command(epilog="Example:  irr classify --labels skills.jsonl --input ads.jsonl --output out.jsonl")
def classify(
    input: Annotated[str, typer.Option(help='JSONL rows {"id", "text"}; "-" reads stdin.', metavar="FILE")],
    output: Annotated[
        str, typer.Option(help='One JSONL row for each input row; "-" writes stdout.', metavar="FILE")
    ],
    labels: Labels = None,
    program: ProgramFolder = None,
    top_k: Annotated[int, typer.Option(help="Labels a text.", min=1)] = 10,
    costs: Annotated[bool, typer.Option("--costs", help="Write what each row's calls cost.")] = False,
    encoder: EncoderName = None,
    fields: Fields = None,
    index_folder: IndexFolder = None,
    lm: LMName = NO_MODEL,
    api_base: ApiBase = None,
    infer_lm: InferLM = None,
    rank_lm: RankLM = None,
    rank_method: RankMethodName = RankMethod.AUTO,
    task: Task = "default",
) -> None:
    """Classify every text of a file.

    The output has one row for each input row, in the same order, with its labels best first.

    Exit code 0: all rows were answered; 1: some rows carry an error; 2: the call could not be used.
    """
    from irr.batch import classify_file, open_input, open_output
    from irr.texts import count_rows

    lms = LMOptions(lm, api_base, infer_lm, rank_lm, rank_method, task)
    options = ProgramOptions(labels, program, encoder, fields, index_folder, lms)
    space = options.read_space()
    with open_input(input) as source:
        total = count_rows(source)
        with open_output(output, source, *options.files()) as out:
            runner = options.build(space)
            with display.progress("texts", total) as on_text:
                summary = classify_file(runner, source, out, top_k, costs, on_text)
    display.summary(summary)
    if summary.errors:
        raise typer.Exit(EXIT_ROW_ERRORS)


@app.command("eval", epilog="Example:  irr eval --labels skills.jsonl --gold test.jsonl --json scores.json")
def evaluate(
    gold: Annotated[
        Path, typer.Option(help='JSONL rows {"id", "text", "labels": [label id]}.', metavar="FILE")
    ],
    labels: Labels = None,
    program: ProgramFolder = None,
    json_file: Annotated[
        str | None,
        typer.Option(
            "--json",
            help='Write the metrics there, too; "-" writes stdout.',
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(
            help="Write a page there that shows where labels are lost.", metavar="FILE", show_default=False
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            help="What --json wrote in another run on the same gold.", metavar="FILE", show_default=False
        ),
    ] = None,
    encoder: EncoderName = None,
    fields: Fields = None,
    index_folder: IndexFolder = None,
    lm: LMName = NO_MODEL,
    api_base: ApiBase = None,
    infer_lm: InferLM = None,
    rank_lm: RankLM = None,
    rank_method: RankMethodName = RankMethod.AUTO,
    task: Task = "default",
) -> None:
    """Measure the answers against gold labels, with 95 % intervals."""
    from irr.batch import STANDARD, open_output
    from irr.compare import compare as compare_runs
    from irr.compare import read_run
    from irr.evaluate import evaluate as run
    from irr.report import Watcher, write_page
    from irr.texts import read_gold

    lms = LMOptions(lm, api_base, infer_lm, rank_lm, rank_method, task)
    options = ProgramOptions(labels, program, encoder, fields, index_folder, lms)
    space = options.read_space()
    rows = read_gold(gold, space)
    other = read_run(compare, rows) if compare else None
    if report and json_file and (report == json_file or Path(report).resolve() == Path(json_file).resolve()):
        raise UsageError("--report and --json name one file", "name two")
    read = (gold, compare, *options.files())
    with (
        open_output(json_file or os.devnull, *read) as out,
        open_output(report or os.devnull, *read) as page,
    ):
        runner = options.build(space)
        watcher = Watcher(runner) if report else None
        with display.progress("texts", len(rows)) as on_text:
            result = run(runner, rows, on_text, watcher.watch if watcher else None)
        comparison = compare_runs(result, other) if other else None
        out.write(result.as_text(comparison.as_json() if comparison else None))
        if watcher:
            with display.progress("labels that were lost", watcher.to_look_up) as on_text:
                watcher.look_up(on_text)
            write_page(page, gold.name, result, watcher, comparison)
    if STANDARD not in (json_file, report):
        display.report(result)
        if comparison:
            display.comparison(comparison)
    if result.errors:
        raise typer.Exit(EXIT_ROW_ERRORS)


@app.command(epilog="Example:  irr inspect --labels skills.jsonl --text 'You will bake bread and cakes'")
def inspect(
    text: Annotated[str, typer.Option(help="The text.", metavar="TEXT")],
    labels: Labels = None,
    program: ProgramFolder = None,
    top_k: Annotated[int, typer.Option(help="Labels to show.", min=1)] = 10,
    encoder: EncoderName = None,
    fields: Fields = None,
    index_folder: IndexFolder = None,
    lm: LMName = NO_MODEL,
    api_base: ApiBase = None,
    infer_lm: InferLM = None,
    rank_lm: RankLM = None,
    rank_method: RankMethodName = RankMethod.AUTO,
    task: Task = "default",
) -> None:
    """Show what every stage makes of one text."""
    lms = LMOptions(lm, api_base, infer_lm, rank_lm, rank_method, task)
    options = ProgramOptions(labels, program, encoder, fields, index_folder, lms)
    prediction = options.build(options.read_space())(text, top_k, trace=True)
    if prediction.error:
        raise UsageError(f"--text: {prediction.error.message}")
    display.trace(prediction, top_k)


@app.command(
    "serve-lm",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example:  irr serve-lm Qwen/Qwen3-8B --port 8000 -- --max-model-len 8192",
)
def serve_lm(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A model's name on the hub, its folder, or embedded.")],
    host: Annotated[str, typer.Option(help="The address to listen on.", metavar="HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for any that is free.", metavar="PORT")] = 8000,
    python: Annotated[
        Path | None,
        typer.Option(help="The Python that has vLLM, if not this one.", metavar="PATH", show_default=False),
    ] = None,
) -> None:
    """Serve a language model with vLLM, with the flags that suit irr, until Ctrl-C.

    Prints the options that use it, once it answers. What follows "--" goes to vLLM.
    """
    from irr.models.serve import Server, serve

    def ready(server: Server) -> None:
        display.note(f"ready after {server.seconds[1]:.0f} s; use it with")
        typer.echo(f"--lm openai/{server.name} --api-base {server.api_base}")

    display.note(f"starting vLLM with {model}: this can take minutes")
    serve(model, ready=ready, host=host, port=port, python=python, extra=context.args)


def main() -> None:
    """Runs the command line; what a user got wrong ends in one line and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="irr: %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TERMINATED))  # so that nothing is left behind
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except IrrError as e:
        display.note(f"irr: {e}")
        code = EXIT_UNUSABLE
    except typer.TyperException as e:
        display.note(f"irr: {getattr(e, 'format_message', e.__str__)()} See irr --help.")
        code = EXIT_UNUSABLE
    except OSError as e:
        display.note(f"irr: {e.filename or 'the output'} cannot be read or written: {e.strerror}")
        code = EXIT_UNUSABLE
    sys.exit(code)
