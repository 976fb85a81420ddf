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

from irr.cli import display
from irr.cli.classify import EXIT_ROW_ERRORS, classify
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
from irr.cli.programs import optimize, show
from irr.config import RankMethod
from irr.errors import IrrError, UsageError

EXIT_UNUSABLE = 2
EXIT_INTERRUPTED = 130
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


app.command(epilog="Example:  irr classify --labels skills.jsonl --input ads.jsonl --output out.jsonl")(
    classify
)


@app.command("eval", epilog="Example:  irr eval --labels skills.jsonl --gold test.jsonl --json scores.json")
def evaluate(
    gold: Annotated[
        Path, typer.Option(help='JSONL rows {"id", "text", "labels": [label id]}.', metavar="FILE")
    ],
    labels: Labels = None,
    program: ProgramFolder = None,
    rebind: Rebind = False,
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
    lm: LMName = None,
    api_base: ApiBase = None,
    infer_lm: InferLM = None,
    rank_lm: RankLM = None,
    rank_method: RankMethodName = RankMethod.AUTO,
    task: Task = None,
    language: Language = None,
    hierarchy: HierarchyName = None,
) -> None:
    """Measure the answers against gold labels, with 95 % intervals."""
    from irr.evaluate.compare import compare as compare_runs
    from irr.evaluate.compare import read_run
    from irr.evaluate.evaluate import evaluate as run
    from irr.evaluate.report import Diagnoser, write_page
    from irr.io.outputs import open_output
    from irr.io.streams import STANDARD
    from irr.io.texts import read_gold

    lms = LMOptions(lm, api_base, infer_lm, rank_lm, rank_method, task)
    options = ProgramOptions(labels, program, encoder, fields, index_folder, lms, rebind, language, hierarchy)
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
        watcher = Diagnoser(runner) if report else None
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
    text: Annotated[str, typer.Option(help="The text, or - for stdin.", metavar="TEXT")],
    labels: Labels = None,
    program: ProgramFolder = None,
    rebind: Rebind = False,
    top_k: Annotated[int, typer.Option(help="Labels to show.", min=1)] = 10,
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
) -> None:
    """Show what every stage makes of one text."""
    lms = LMOptions(lm, api_base, infer_lm, rank_lm, rank_method, task)
    options = ProgramOptions(labels, program, encoder, fields, index_folder, lms, rebind, language, hierarchy)
    space = options.read_space()
    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    prediction = options.build(space)(text, top_k, trace=True)
    if prediction.error:
        raise UsageError(f"--text: {prediction.error.message}")
    display.trace(prediction, top_k)


@app.command(epilog="Example:  irr labels eurovoc.rdf.gz --language fi,en --output eurovoc.jsonl")
def labels(
    file: Annotated[Path, typer.Argument(help="A label file, as --labels takes it.", metavar="FILE")],
    output: Annotated[
        str | None,
        typer.Option(
            help='Write the labels there as JSONL, which is read fastest; "-" writes stdout.',
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    json_file: Annotated[
        str | None,
        typer.Option(
            "--json", help='Write the survey there; "-" writes stdout.', metavar="FILE", show_default=False
        ),
    ] = None,
    language: Language = None,
    encoder: EncoderName = None,
) -> None:
    """Show a label space: what is in it, how it hangs together, and what of it hurts retrieval."""
    from irr.cli.display_labels import show
    from irr.encoders.sentence_transformers import DEFAULT_ENCODER
    from irr.encoders.window import open_window
    from irr.io.outputs import open_output
    from irr.io.streams import STANDARD
    from irr.labels.diagnostics import survey
    from irr.labels.space import LabelSpace

    if output == json_file == STANDARD:
        raise UsageError("--output and --json both write stdout", "name a file for one of them")
    window = open_window(encoder)
    space = LabelSpace.read(file, language)
    with open_output(output or os.devnull, file) as out, open_output(json_file or os.devnull, file) as scores:
        display.skos(file, space.counts)
        out.writelines(label.model_dump_json(exclude_defaults=True) + "\n" for label in space)
        found = survey(space, window, only_english=encoder in (None, DEFAULT_ENCODER))
        scores.write(found.model_dump_json(indent=2) + "\n")
    if STANDARD not in (output, json_file):
        show(found)


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
    from irr.lm.vllm_server import Server, serve

    def ready(server: Server) -> None:
        display.note(f"ready after {server.seconds[1]:.0f} s; use it with")
        typer.echo(f"--lm openai/{server.name} --api-base {server.api_base}")

    display.note(f"starting vLLM with {model}: this can take minutes")
    serve(model, ready=ready, host=host, port=port, python=python, extra=context.args)


app.command(epilog="Example:  irr optimize --labels skills.jsonl --train examples.jsonl --output program")(
    optimize
)
app.command(epilog="Example:  irr show program")(show)


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
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except typer.TyperException as e:
        display.note(f"irr: {getattr(e, 'format_message', e.__str__)()} See irr --help.")
        code = EXIT_UNUSABLE
    except OSError as e:
        display.note(f"irr: {e.filename or 'the output'} cannot be read or written: {e.strerror}")
        code = EXIT_UNUSABLE
    sys.exit(code)
