"""The options of the commands, their help and their errors, and the start of the command line."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from typing import get_args

import pytest
import typer.main

from irr.cli.app import app, call
from irr.cli.options import HierarchyName, RankMethodName
from irr.cli.program_options import ProgramOptions
from irr.config import Hierarchy, RankMethod
from irr.errors import InputError, IrrError, LMError, UsageError


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


def test_commands_that_run_a_program_have_all_of_its_options() -> None:
    names = {field.name for field in fields(ProgramOptions)}
    root = typer.main.get_command(app)
    for command in ("classify", "eval", "inspect", "serve", "teach", "audit"):
        assert names <= {parameter.name for parameter in root.commands[command].params}, command
    build = names - {"program", "rebind", "within", "only", "without"}
    assert build <= {parameter.name for parameter in root.commands["optimize"].params}


def test_help_loads_no_more_than_it_shows() -> None:
    code = (
        "import sys\nsys.argv = ['irr', '--help']\nfrom irr.cli import main\n"
        "try: main()\nexcept SystemExit: print(*sorted(sys.modules), file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "numpy", "asyncio", "torch", "chromadb"} & set(told.stderr.split())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            UsageError("retry_errors reads JSONL", "give `restart`"),
            "--retry-errors reads JSONL: give --restart",
        ),
        (UsageError('columns: no field "x"'), '--columns: no field "x"'),
        (LMError("timeout", "no answer", "lower `concurrency`"), "no answer: lower --concurrency"),
        (InputError("labels", "no such file", "name it"), "labels: no such file: name it"),
        (InputError("top_k.csv", "text_weight", ""), "top_k.csv: text_weight"),
    ],
)
def test_options_stand_for_the_arguments_that_an_error_of_the_library_names(
    monkeypatch: pytest.MonkeyPatch, error: IrrError, message: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("irr.cli.app.app", fails)
    monkeypatch.setattr("irr.cli.app.get_command", lambda _: typer.main.get_command(app))
    with pytest.raises(IrrError, match=f"^{re.escape(message)}$"):
        call([])
