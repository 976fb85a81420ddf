"""docs/commands.md is what `--help` says."""

from __future__ import annotations

from pathlib import Path

from eval.commands import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert Path(PAGE).read_text("utf-8") == page(), "run: make commands"
