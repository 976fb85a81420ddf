"""The commands of the command line, in the order that `irr --help` shows them."""

from __future__ import annotations

from typing import Annotated

import typer

from irr.cli.audit import audit
from irr.cli.calibrate import calibrate
from irr.cli.classify import classify
from irr.cli.doctor import doctor
from irr.cli.draft import draft
from irr.cli.evaluate import evaluate
from irr.cli.index import index
from irr.cli.inspect import inspect
from irr.cli.labels import labels
from irr.cli.optimize import optimize
from irr.cli.review import review
from irr.cli.serve import serve
from irr.cli.serve_lm import serve_lm
from irr.cli.show import show
from irr.cli.teach import teach

app = typer.Typer(
    name="irr",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Puts any text into a label space of ten to a million labels, without training.",
)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from irr.version import __version__

        typer.echo(__version__)
        raise typer.Exit


for command in (
    classify,
    evaluate,
    inspect,
    labels,
    draft,
    index,
    serve,
    serve_lm,
    doctor,
    teach,
    optimize,
    calibrate,
    audit,
    review,
    show,
):
    command.register(app)
