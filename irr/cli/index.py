"""The command `irr index`: lists, verifies and prunes the label indexes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import IndexFolder
from irr.text.numbers import counted


@dataclass(frozen=True, kw_only=True)
class IndexOptions:
    """What to do with the label indexes."""

    action: Annotated[
        Literal["list", "prune", "verify"],
        Argument(help="list shows them, verify compares them with Chroma, prune deletes unused ones."),
    ] = "list"
    days: Annotated[
        float, Option(help="For prune: days since an index was last opened.", min=0, metavar="N")
    ] = 30
    index_folder: IndexFolder = None


@command("index prune --days 30")
def index(options: IndexOptions) -> None:
    """List the label indexes, verify them, or delete unused ones."""
    from irr.hub import cache_folder
    from irr.index.maintenance import list_indexes, prune, verify

    root = options.index_folder or cache_folder("indexes")
    if options.action == "prune":
        indexes, vectors = prune(root, options.days)
        display.say(
            f"{counted(indexes, 'index', 'indexes')} and {counted(vectors, 'vector')} deleted under {root}"
        )
    elif options.action == "verify":
        damaged = 0
        for found, problem in verify(root):
            damaged += bool(problem)
            display.say(f"{found.path}: {problem or 'whole'}")
        if damaged:
            hint = "delete the folder of each, and the next use builds it again"
            display.note(f"irr: {counted(damaged, 'index is', 'indexes are')} damaged: {hint}")
            raise typer.Exit(EXIT_ROW_ERRORS)
    else:
        rows = [
            (
                *(f"{one.labels:,}", f"{one.entries:,}", f"{one.size / 1e6:,.1f}", f"{one.unused:.0f}"),
                *(one.encoder, str(one.path.relative_to(root))),
            )
            for one in list_indexes(root)
        ]
        header = ("labels", "entries", "MB", "days unused", "encoder", "folder")
        display.table(header, rows, str(root), right=range(4))
