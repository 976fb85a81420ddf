"""The command line: arguments, a call, an exit code."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.logging import RichHandler

from irr import display
from irr.errors import IrrError, UsageError
from irr.settings import Settings
from irr.types import EntryKind

if TYPE_CHECKING:
    from irr.labels import LabelSpace
    from irr.pipeline import InferRetrieveRank

EXIT_ROW_ERRORS = 1
EXIT_UNUSABLE = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="irr",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Puts any text into a label space of ten to a million labels, without training.",
)

Labels = Annotated[
    Path,
    typer.Option(help="Label file: .jsonl, .csv, or .txt with one name a line.", metavar="FILE"),
]
EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="Name or folder of a sentence-transformers model.  [default: all-MiniLM-L6-v2]",
        metavar="NAME",
    ),
]
Fields = Annotated[
    str,
    typer.Option(help="Parts of a label that texts are matched with.", metavar="LIST"),
]
IndexFolder = Annotated[
    Path | None,
    typer.Option(
        help="Where label indexes are kept.  [default: the user's cache folder]",
        metavar="DIR",
        envvar="IRR_INDEX_FOLDER",
        show_default=False,
    ),
]
ALL_FIELDS = ",".join(Settings().fields)


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from irr import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command(epilog="Example:  irr classify --labels skills.jsonl --input ads.jsonl --output out.jsonl")
def classify(
    labels: Labels,
    input: Annotated[str, typer.Option(help='JSONL rows {"id", "text"}; "-" reads stdin.', metavar="FILE")],
    output: Annotated[
        str,
        typer.Option(help='One JSONL row for each input row; "-" writes stdout.', metavar="FILE"),
    ],
    top_k: Annotated[int, typer.Option(help="Labels a text.", min=1)] = 10,
    encoder: EncoderName = None,
    fields: Fields = ALL_FIELDS,
    index_folder: IndexFolder = None,
) -> None:
    """Classify every text of a file.

    The output has one row for each input row, in order: {"id", "labels": [{"id", "name", "score"}, ...],
    "error"}. Exit code 0: all rows answered; 1: some rows carry an error; 2: nothing could be done.
    """
    from irr.batch import classify_file, open_input, open_output
    from irr.texts import count_rows

    space = _read_labels(labels)
    with open_input(input) as source:
        total = count_rows(source)
        with open_output(output, source) as out:
            program = _program(space, encoder, fields, index_folder)
            with display.progress("texts", total) as on_text:
                texts, errors = classify_file(program, source, out, top_k, on_text)
    if errors:
        display.note(f'{errors} of {texts} texts carry an error: see "error" in their rows')
        raise typer.Exit(EXIT_ROW_ERRORS)


@app.command("eval", epilog="Example:  irr eval --labels skills.jsonl --gold test.jsonl --json scores.json")
def evaluate(
    labels: Labels,
    gold: Annotated[
        Path, typer.Option(help='JSONL rows {"id", "text", "labels": [label id]}.', metavar="FILE")
    ],
    json_file: Annotated[
        str | None,
        typer.Option("--json", help='Also write the metrics there; "-": to stdout only.', metavar="FILE"),
    ] = None,
    encoder: EncoderName = None,
    fields: Fields = ALL_FIELDS,
    index_folder: IndexFolder = None,
) -> None:
    """Measure the answers against gold labels, with 95 % intervals."""
    from irr.batch import STANDARD, open_output
    from irr.evaluate import evaluate as run
    from irr.texts import read_gold

    space = _read_labels(labels)
    rows = read_gold(gold, space)
    with open_output(json_file or os.devnull, gold) as out:
        program = _program(space, encoder, fields, index_folder)
        with display.progress("texts", len(rows)) as on_text:
            report = run(program, rows, on_text)
        out.write(json.dumps(report.as_json(), indent=2) + "\n")
    if json_file != STANDARD:
        display.report(report)


@app.command(epilog="Example:  irr inspect --labels skills.jsonl --text 'You will bake bread and cakes'")
def inspect(
    labels: Labels,
    text: Annotated[str, typer.Option(help="The text.", metavar="TEXT")],
    top_k: Annotated[int, typer.Option(help="Labels to show.", min=1)] = 10,
    encoder: EncoderName = None,
    fields: Fields = ALL_FIELDS,
    index_folder: IndexFolder = None,
) -> None:
    """Show what every stage makes of one text."""
    program = _program(_read_labels(labels), encoder, fields, index_folder)
    prediction = program(text, top_k, trace=True)
    if prediction.error:
        raise UsageError(f"--text: {prediction.error.message}")
    display.trace(prediction, top_k)


def main() -> None:
    """Runs the command line; what a user got wrong ends in one line and exit code 2."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=display.stderr, show_time=False, show_path=False)],
    )
    try:
        app()
    except IrrError as e:
        display.note(f"irr: {e}")
        sys.exit(EXIT_UNUSABLE)
    except KeyboardInterrupt:
        display.note("irr: interrupted")
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of stdout has gone; closing it again at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _read_labels(path: Path) -> LabelSpace:
    from irr.labels import LabelSpace

    return LabelSpace.read(path)


def _program(
    space: LabelSpace, encoder: str | None, fields: str, index_folder: Path | None
) -> InferRetrieveRank:
    from irr.pipeline import build

    settings = Settings(fields=_parse_fields(fields))
    with display.progress("label entries", None) as on_entries:
        return build(
            space,
            encoder=encoder,
            settings=settings,
            index_folder=index_folder,
            progress=on_entries,
        )


def _parse_fields(fields: str) -> tuple[EntryKind, ...]:
    known = [kind.value for kind in EntryKind]
    names = [name.strip() for name in fields.split(",")]
    for name in names:
        if name not in known:
            raise UsageError(f'--fields: no field "{name}"', f"name some of {','.join(known)}")
    return tuple(EntryKind(name) for name in names)
