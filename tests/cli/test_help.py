"""docs/commands.md is what `--help` says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "commands.py"


def test_the_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("commands_page", SCRIPT)
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text("utf-8") == script.page(), "run: make commands"
