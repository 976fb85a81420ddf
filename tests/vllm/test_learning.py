"""Teaching and drafting on a real vLLM: killed on the way, within a budget, and to their end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.doubles.kills import kill_once_it_has_answers
from tests.support import KITCHEN, Irr, read_jsonl, write_jsonl
from tests.tune.test_optimize import NAMES, ODD, ROWS
from tests.vllm.live import LiveServer
from tests.workbench.draft.test_draft import TEXTS

COUNT = 16
CONCURRENCY = 2


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "t.jsonl", ({"id": str(n), "text": t} for n, t in enumerate(TEXTS[:COUNT])))


def asked(live_server: LiveServer) -> float:
    """Requests that the server has answered."""
    return live_server.figure("request_success_total")


def test_teaching_keeps_its_budget_goes_on_after_a_kill_and_asks_nothing_twice(
    irr: Irr, live_server: LiveServer, texts: Path, tmp_path: Path
) -> None:
    labels, output = write_jsonl(tmp_path / "labels.jsonl", KITCHEN), tmp_path / "examples.jsonl"
    server = live_server.server
    call = ["teach", "--labels", str(labels), "--texts", str(texts), "--output", str(output)]
    call += ["--rank-lm", f"openai/{server.name}", "--api-base", server.api_base, "--top-k", "2"]
    call += ["--concurrency", str(CONCURRENCY)]
    before = asked(live_server)
    kill_once_it_has_answers(call, tmp_path / "examples.jsonl.lm")
    assert not output.exists()

    ended = irr(*call, "--budget", "9")
    assert ended.returncode == 1, ended.stderr
    assert "the budget of 9 calls is spent" in ended.stderr
    # What was under way at the kill may have been answered to nobody.
    assert asked(live_server) - before <= 9 + CONCURRENCY

    ended = irr(*call)
    assert ended.returncode == 0, ended.stderr
    assert asked(live_server) - before <= COUNT + CONCURRENCY
    rows = read_jsonl(output)
    assert [row["id"] for row in rows] == [str(n) for n in range(COUNT)]
    assert all(len(row["labels"]) == 2 and row["taught"]["by"] == [server.name] for row in rows)
    assert not (tmp_path / "examples.jsonl.lm").exists()


def test_the_optimizer_says_that_a_small_models_examples_add_nothing(
    irr: Irr, live_server: LiveServer, tmp_path: Path
) -> None:
    """Only gold tells what these texts mean."""
    (tmp_path / "labels.txt").write_text("\n".join(NAMES) + "\n", "utf-8")
    texts = write_jsonl(tmp_path / "t.jsonl", ({"id": row.id, "text": row.text} for row in ROWS[:8]))
    gold = write_jsonl(tmp_path / "gold.jsonl", (row.model_dump() for row in ODD))
    taught, server = tmp_path / "taught.jsonl", live_server.server
    call = ["teach", "--labels", str(tmp_path / "labels.txt"), "--texts", str(texts), "--output", str(taught)]
    call += ["--rank-lm", f"openai/{server.name}", "--api-base", server.api_base, "--top-k", "2"]
    ended = irr(*call)
    assert ended.returncode == 0, ended.stderr
    ended = irr(
        *("optimize", "--labels", tmp_path / "labels.txt", "--output", tmp_path / "program"),
        *("--train", taught, "--val", gold),
    )
    assert ended.returncode == 0, ended.stderr
    said = next(line for line in ended.stdout.splitlines() if "the trainset's examples" in line)
    assert said.endswith("no gain beyond luck"), said


def test_drafting_keeps_its_budget_and_goes_on_after_a_kill(
    irr: Irr, live_server: LiveServer, tmp_path: Path
) -> None:
    texts = write_jsonl(tmp_path / "t.jsonl", ({"id": str(n), "text": text} for n, text in enumerate(TEXTS)))
    labels = tmp_path / "labels.jsonl"
    server = live_server.server
    call = ["draft", "--input", str(texts), "--output", str(labels), "--size", "4", "--lm-texts", "24"]
    call += ["--lm", f"openai/{server.name}", "--api-base", server.api_base, "--budget", "4"]
    before = asked(live_server)
    kill_once_it_has_answers(call, Path(f"{labels}.answers"))
    assert not labels.exists()

    ended = irr(*call)
    assert asked(live_server) - before <= 4 + 1
    # The small model's answers may be of no use for labels, which is then said.
    if "proposed no label" in ended.stderr:
        assert ended.returncode == 2
        return
    assert ended.returncode in (0, 1), ended.stderr
    found = re.search(rf"(\d+) answers? of {re.escape(server.name)}", ended.stderr)
    assert found, ended.stderr
    assert 1 <= int(found[1]) <= 4
    assert all(row["id"] and row["name"] for row in read_jsonl(labels))
