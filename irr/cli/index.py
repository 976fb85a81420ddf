"""The command `irr index`: lists, verifies and prunes the label indexes."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from typer import Argument

from irr.cli import display, options
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import value
from irr.text.strings import counted


def index(
    action: Annotated[
        Literal["list", "prune", "verify"],
        Argument(help="list shows them, verify compares them with Chroma, prune deletes unused ones."),
    ] = "list",
    days: Annotated[float, value("For prune: days since an index was last opened.", "N", min=0)] = 30,
    index_folder: options.IndexFolder = None,
) -> None:
    """List the label indexes, verify them, or delete unused ones."""
    from irr.hub import cache_folder
    from irr.index.store import list_indexes, prune, verify

    root = index_folder or cache_folder("indexes")
    if action == "prune":
        indexes, vectors = prune(root, days)
        deleted = f"{counted(indexes, 'index', 'indexes')} and {counted(vectors, 'vector')}"
        display.say(f"{deleted} deleted under {root}")
    elif action == "verify":
        damaged = 0
        for found, problem in verify(root):
            damaged += bool(problem)
            display.say(f"{found.path}: {problem or 'whole'}")
        if damaged:
            hint = "delete the folder of each, and the next use builds it again"
            display.note(f"irr: {counted(damaged, 'index is', 'indexes are')} damaged: {hint}")
            raise typer.Exit(EXIT_ROW_ERRORS)
    else:
        rows = []
        for one in list_indexes(root):
            size, unused = f"{one.size / 1e6:,.1f}", f"{one.unused:.0f}"
            rows.append((one.labels, one.entries, size, unused, one.encoder, one.path.relative_to(root)))
        header = ("labels", "entries", "MB", "days unused", "encoder", "folder")
        display.table(header, rows, str(root), right=range(4))
