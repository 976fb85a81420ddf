"""Writes docs/commands.md from what `--help` says: `make commands`. With `--check` it only compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer.main

from irr.cli.app import app

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"


def page() -> str:
    """The page: every command's purpose, options and example."""
    root: Any = typer.main.get_command(app)  # Typer has a click of its own
    parts = ["# Commands\n\nMade from `irr --help` by `make commands`."]
    for name, command in root.commands.items():
        rows = [
            f"| {', '.join(f'`{flag}`' for flag in parameter.opts)} | {_help(parameter)} |"
            for parameter in command.params
        ]
        table = "\n".join(["| option | |", "|---|---|", *rows])
        example = (command.epilog or "").removeprefix("Example:").strip()
        parts.append(f"## irr {name}\n\n{command.help}\n\n    {example}\n\n{table}")
    return "\n\n".join(parts) + "\n"


def _help(parameter: Any) -> str:
    words = [(parameter.help or "").replace("|", "\\|")]
    default = parameter.default
    if parameter.required:
        words.append("Required.")
    elif parameter.show_default and default not in (None, False):
        words.append(f"Default: {default}.")
    return " ".join(words)


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), "utf-8")
    elif PAGE.read_text("utf-8") != page():
        sys.exit(f"{PAGE} is not what --help says: run make commands")
