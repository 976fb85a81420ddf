"""A command's options are the fields of one object; the choices and the start of the command line."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import typer.main

from irr.cli.app import app
from irr.cli.options import HierarchyName, RankMethodName
from irr.config import Hierarchy, RankMethod


def test_choices_are_those_of_the_settings() -> None:
    assert get_args(RankMethodName) == tuple(RankMethod)
    assert get_args(HierarchyName) == tuple(Hierarchy)


def test_every_option_says_what_it_does_and_flags_have_no_opposite() -> None:
    root = typer.main.get_command(app)
    for name, command in root.commands.items():
        assert (command.epilog or "").startswith(f"Example:  irr {name} "), name
        for parameter in command.params:
            assert parameter.help, (name, parameter.name)
            assert not parameter.secondary_opts, (name, parameter.name)


def test_help_loads_no_more_than_it_shows() -> None:
    code = (
        "import sys\nsys.argv = ['irr', '--help']\nfrom irr.cli import main\n"
        "try: main()\nexcept SystemExit: print(*sorted(sys.modules), file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "numpy", "asyncio", "torch", "chromadb"} & set(told.stderr.split())
