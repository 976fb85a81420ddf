"""The command `irr index`: which label indexes are kept, whether they are whole, and what may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from rich.table import Table
from typer import Argument, Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import IndexFolder


@dataclass(frozen=True, kw_only=True)
class IndexOptions:
    """What to do with the label indexes that are kept."""

    action: Annotated[
        Literal["list", "prune", "verify"],
        Argument(help="list shows them, verify compares them with Chroma, prune deletes what is not used."),
    ] = "list"
    days: Annotated[
        float, Option(help="For prune: days that an index was not opened.", min=0, metavar="N")
    ] = 30
    index_folder: IndexFolder = None


@command("index prune --days 30")
def index(options: IndexOptions) -> None:
    """List the label indexes that are kept, verify them, or delete those that nobody uses."""
    from irr.builder import default_index_folder
    from irr.index.maintenance import kept, prune, verify

    root = options.index_folder or default_index_folder()
    if options.action == "prune":
        indexes, vectors = prune(root, options.days)
        display.say(f"{indexes:,} indexes and {vectors:,} vectors deleted under {root}")
    elif options.action == "verify":
        damaged = 0
        for found, problem in verify(root):
            damaged += bool(problem)
            display.say(f"{found.path}: {problem or 'whole'}")
        if damaged:
            hint = "delete their folders: they are made again at the next use"
            display.note(f"irr: {damaged:,} indexes are damaged: {hint}")
            raise typer.Exit(EXIT_ROW_ERRORS)
    else:
        table = Table("labels", "entries", "MB", "days unused", "encoder", "folder", title=str(root))
        for one in kept(root):
            numbers = (f"{one.labels:,}", f"{one.entries:,}", f"{one.size / 1e6:,.1f}", f"{one.unused:.0f}")
            table.add_row(*numbers, one.encoder, str(one.path.relative_to(root)))
        display.show(table)
