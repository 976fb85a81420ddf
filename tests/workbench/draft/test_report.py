"""The report of a draft as a browser shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support import Irr, write_jsonl
from tests.workbench.draft.test_draft import TEXTS


def test_the_page_shows_labels_texts_and_the_map_and_loads_nothing(
    irr: Irr, tmp_path: Path, browser: Any
) -> None:
    hostile = "</script><img src=x onerror=alert(1)> what does a mortgage cost"
    rows = [{"id": i, "text": text} for i, text in enumerate([*TEXTS, hostile])]
    texts, report = write_jsonl(tmp_path / "texts.jsonl", rows), tmp_path / "draft.html"
    call = irr("draft", "--input", texts, "--output", tmp_path / "l.jsonl", "--size", 6, "--report", report)
    assert call.returncode == 0, call.stderr
    page = browser.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.on(
        "request", lambda request: problems.append(request.url) if "draft.html" not in request.url else None
    )
    page.goto(report.as_uri())
    assert page.locator("h1").inner_text() == "texts.jsonl"
    assert page.locator("#map circle").count() == len(rows)
    assert page.locator("#texts details").count() == 6
    page.get_by_label("Find a label or a text").fill("passport")
    shown = page.locator("#texts details:visible")
    assert shown.count() == 1
    shown.locator("summary").click()
    assert "passport" in shown.inner_text()
    assert not problems
