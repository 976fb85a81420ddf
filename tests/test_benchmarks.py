"""The benchmark commands, as a user types them: tasks, baselines, runs, and the pages made from them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.frozen.freeze import freeze
from irr.program.program import InferRetrieveRank, build
from tests.support import KITCHEN, read_jsonl, write_jsonl

ROOT = Path(__file__).parent.parent
LABELS = [*KITCHEN, {"id": "weld", "name": "module 17", "aliases": ["spot welding"]}]
GOLD = [
    {"id": "1", "text": "Dinner has to be made for forty people", "labels": ["cook"]},
    {"id": "2", "text": "kneading", "labels": ["bake"]},
    {"id": "3", "text": "spot welding", "labels": ["weld"]},
]


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs `python -m eval ARGUMENTS`."""
    command = [sys.executable, "-m", "eval", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def refused(*arguments: object) -> str:
    """The one line that a call which cannot be used gets."""
    done = bench(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def task_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of the user's own, on the kitchen's labels and one whose name says nothing."""
    folder = tmp_path_factory.mktemp("task")
    write_jsonl(folder / "labels.jsonl", LABELS)
    write_jsonl(folder / "gold.jsonl", GOLD)
    path = folder / "kitchen.toml"
    path.write_text(
        'title = "Kitchen"\nabout = "a"\nsource = "b"\nlicence = "c"\n'
        'labels = { path = "labels.jsonl" }\ntest = { path = "gold.jsonl" }\n'
    )
    return path


@pytest.fixture(scope="module")
def program(encoder: SentenceEncoder, index_folder: Path) -> InferRetrieveRank:
    return build(LABELS, encoder=encoder, index_folder=index_folder)


@pytest.fixture(scope="module")
def recorded(task_file: Path, index_folder: Path, program: InferRetrieveRank) -> tuple[Path, str]:
    """The file of runs after two commands, and what the first printed."""
    folder = task_file.with_name("program")
    freeze(program, folder)
    output = task_file.with_name("runs.jsonl")
    options = ["--data", task_file.parent, "--index-folder", index_folder, "--output", output]
    done = bench("peers", task_file, *options)
    assert done.returncode == 0, done.stderr
    again = bench("run", task_file, *options, "--program", folder)
    assert again.returncode == 0, again.stderr
    return output, done.stdout


def test_every_command_that_a_page_cites_is_there_or_in_the_history() -> None:
    pages = [ROOT / "README.md", ROOT / "eval" / "README.md", *(ROOT / "docs").glob("*.md")]
    cited = [
        (module, page, line)
        for page in pages
        for line in page.read_text("utf-8").splitlines()
        for module in re.findall(r"python -m eval\.(\w+)", line)
    ]
    assert len(cited) > 20
    for module, page, line in cited:
        there = [ROOT / "eval" / f"{module}.py", ROOT / "eval" / module]
        assert "f15b9ef" in line or any(map(Path.exists, there)), f"{page}: {line}"


def test_the_tables_of_the_pages_are_those_of_the_runs() -> None:
    done = bench("table", "--check", "README.md", "docs/figures.md")
    assert done.returncode == 0, done.stderr


def test_a_run_keeps_all_that_its_figures_depend_on(
    recorded: tuple[Path, str], program: InferRetrieveRank
) -> None:
    output, printed = recorded
    runs = read_jsonl(output)
    assert [run["system"] for run in runs] == [
        *("irr", "cosine", "bm25", "irr/names", "cosine/names", "query/names", "irr program")
    ]
    first, *others = runs
    assert first["session"] == runs[5]["session"]
    assert {run["data"] for run in others} == {first["data"]}
    assert runs[6]["program"] == first["program"] == program.digest
    assert first["settings"]["retrieve.candidates"] == program.settings.retrieve.candidates
    assert (first["seed"], first["task"], first["split"], first["limit"]) == (0, "kitchen", "test", None)
    assert set(first["machine"]["packages"]) >= {"numpy", "torch"}
    assert "kitchen  irr, names only  rp@5 " in printed
    # A command names no folder of this machine.
    folder = f"DIR/{output.parent.name}"
    assert first["command"].startswith(f"python -m eval peers {folder}/kitchen.toml --data DIR --index")
    assert str(output.parent) not in first["command"]


def test_baselines_rank_by_what_they_say(recorded: tuple[Path, str]) -> None:
    first = {run["system"]: run["scores"]["rp@1"] for run in read_jsonl(recorded[0])}
    assert first["irr"] == first["cosine"] == first["irr program"] == 1
    assert first["bm25"] == pytest.approx(2 / 3), "the dinner shares no word with its label"
    for system in ("irr/names", "cosine/names", "query/names"):
        assert first[system] == pytest.approx(2 / 3), "no name says what module 17 is"


def run(
    task: str, system: str, rp10: float, seconds: float = 2.0, limit: int | None = None
) -> dict[str, Any]:
    scores = {"rp@1": 0.1, "rp@10": rp10, "rp@50": 0.9, "texts": 4, "seconds": seconds}
    return {
        **dict.fromkeys(("session", "program", "data", "version", "command"), "x"),
        "task": task,
        "system": system,
        "split": "test",
        "limit": limit,
        "seed": 0,
        "settings": {},
        "machine": {},
        "scores": {**scores, "ci95": {"rp@10": [0.6, 0.75]}},
    }


def test_a_table_shows_the_last_full_run_beside_what_others_published(tmp_path: Path) -> None:
    runs = [run("house", "irr", 0.5), run("house", "irr", 0.651), run("house", "irr", 0.9, limit=10)]
    runs.append(run("house", "bm25", 0.3, seconds=1.0))
    output = write_jsonl(tmp_path / "runs.jsonl", runs)
    page = tmp_path / "page.md"
    page.write_text(
        "Before\n\n<!-- table: quality -->\nold\n<!-- /table -->\n\n"
        "<!-- table: peers -->\n<!-- /table -->\n\nAfter\n"
    )
    assert "has other tables than the runs" in refused("table", "--check", page, "--output", output)
    assert bench("table", page, "--output", output).returncode == 0
    filled = page.read_text()
    assert "| **65.1** (60.0 – 75.0) | – | – |" in filled
    assert "as published](https://arxiv.org/abs/2401.12178) | 65.8 | 70.2 | 65.2 |" in filled
    assert "| 90.0 / – / – | 0.50× |" in filled
    assert filled.startswith("Before\n\n<!-- table: quality -->\n")
    assert filled.endswith("\n<!-- /table -->\n\nAfter\n")
    assert "old" not in filled
    assert bench("table", "--check", page, "--output", output).returncode == 0
    page.write_text("<!-- table: quality -->\n")
    assert "marker is left open" in refused("table", page)


def test_what_cannot_be_run_is_one_line(task_file: Path, tmp_path: Path) -> None:
    data = ("--data", task_file.parent)
    assert "has no dev set" in refused("run", task_file, "--split", "dev", *data)
    assert 'no task "hose": name a task file, or one of attack' in refused("run", "hose")
    assert "needs data: give --data" in refused("run", "house")
    (tmp_path / "esco").mkdir()
    write_jsonl(tmp_path / "esco" / "labels.jsonl", [{"id": "a", "name": "a"}])
    assert 'is not the file of task "house"' in refused("run", "house", "--data", tmp_path)
    other = tmp_path / "kitchen.toml"
    other.write_text('title = "a"\n')
    assert f'{other}: "about"' in refused("run", other, *data)


def test_the_packages_installed_here_are_a_task(tmp_path: Path) -> None:
    output = tmp_path / "runs.jsonl"
    done = bench("run", "trove", "--names-only", "--limit", 1, "--output", output)
    assert done.returncode == 0, done.stderr
    [one] = read_jsonl(output)
    assert (one["task"], one["system"], one["scores"]["texts"]) == ("trove", "irr/names", 1)
    assert one["limit"] == 1
