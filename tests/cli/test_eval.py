"""`irr eval` on texts that the program knows, beside several earlier evaluations, and with other settings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.frozen.freeze import freeze
from irr.labels.space import LabelSpace
from irr.program.program import build
from tests.support import Irr, write_jsonl

# What no wording leads to: only an example of it does.
ODD = {"text": "zorvik zorvik", "labels": ["zh"]}
GOLD = [
    {"id": "1", "text": "You will bake bread.", "labels": ["bake"]},
    {"id": "2", "text": "Purchase ingredients", "labels": ["buy", "plan"]},
    {"id": "3", "text": "Lead the kitchen staff", "labels": ["staff"]},
]


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "gold.jsonl", GOLD)


def table_of(shown: str, title: str, row: str) -> list[list[str]]:
    """Of a table that was shown: its header, the row of that name, and that row's second line."""
    lines = shown[shown.index(title) :].splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"│ {row} "))
    header = next(line for line in lines if line.startswith("┃"))
    return [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in (header, *lines[at : at + 2])]


def scores(path: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return fields


def test_a_text_that_is_an_example_is_scored_without_it(
    irr: Irr, kitchen: LabelSpace, encoder: SentenceEncoder, index_folder: Path, tmp_path: Path
) -> None:
    folders = {}
    for name, examples in (("with", [ODD]), ("without", [])):
        program = build(kitchen, encoder=encoder, examples=examples, index_folder=index_folder)
        folders[name] = tmp_path / name
        freeze(program, folders[name])
    rows = [{"id": "a", **ODD, "text": "Zorvik  zorvik"}, *GOLD]
    gold = write_jsonl(tmp_path / "gold.jsonl", rows)
    found = {}
    for name, folder in folders.items():
        result = irr("eval", "--program", folder, "--gold", gold, "--json", tmp_path / f"{name}.json")
        assert result.returncode == 0, result.stderr
        assert ("1 of 4 texts among the examples of the program" in result.stderr) == (name == "with")
        found[name] = scores(tmp_path / f"{name}.json")
    assert found["with"]["examples"] == {"count": 1, "left_out": 1}
    assert found["with"]["per_text"]["scores"] == found["without"]["per_text"]["scores"]
    assert found["with"]["program"] != found["without"]["program"]


def test_many_evaluations_are_compared_and_say_what_they_are_of(
    irr: Irr, labels_file: Path, gold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    call = ("eval", "--labels", labels_file, "--gold", gold)
    paths = [tmp_path / f"{number}.json" for number in range(3)]
    irr(*call, "--name", "no passages", "--set", "retrieve.text_weight=0", "--json", paths[0])
    irr(*call, "--set", "retrieve.span_weight=0", "--json", paths[1])
    page = tmp_path / "report.html"
    compare = ("--compare", paths[0], "--compare", paths[1], "--report", page)
    result = irr(*call, *compare, "--name", "all of it", "--json", paths[2])
    assert result.returncode == 0, result.stderr
    for said in ("all of it on gold.jsonl", "no passages", "compared"):
        assert said in result.stdout
    first, second, last = map(scores, paths)
    header, cells, differences = table_of(result.stdout, "better than the first", "rp@1")
    assert header == ["metric", "no passages", "1", "all of it"]
    assert cells == ["rp@1", *(f"{100 * run['rp@1']:.1f}" for run in (first, second, last))]
    against_first = [run["rp@1"] - first["rp@1"] for run in (second, last)]
    assert [float(cell.split()[0]) for cell in differences[2:]] == pytest.approx(
        [100 * difference for difference in against_first], abs=0.06
    )
    assert first["settings"]["retrieve.text_weight"] == 0
    assert last["settings"]["retrieve.text_weight"] == 0.7
    assert (first["name"], last["name"]) == ("no passages", "all of it")
    assert first["labels"]["count"] == 8
    assert first["models"]["infer"] is None
    assert [beside["name"] for beside in last["compare"]] == ["no passages", "1"]
    for beside, path in zip(last["compare"], paths[:2], strict=True):
        difference = beside["metrics"]["rp@1"]["difference"]
        assert difference == pytest.approx(last["rp@1"] - scores(path)["rp@1"], abs=1e-5)
    text = page.read_text("utf-8")
    assert "<title>all of it on gold.jsonl" in text
    for said in ("no passages", str(labels_file), str(gold), '"retrieve.text_weight":0.7'):
        assert said in text


@pytest.mark.parametrize(
    "broken",
    ["{", "[" * 100_000, '{"program": 1}', "1" * 10_000, "null", "\u0000"],
    ids=["torn", "nested", "number", "huge", "null", "nul"],
)
def test_what_is_no_evaluation_is_one_line(
    irr: Irr, labels_file: Path, gold: Path, tmp_path: Path, broken: str
) -> None:
    path = tmp_path / "old.json"
    path.write_text(broken)
    refused(irr("eval", "--labels", labels_file, "--gold", gold, "--compare", path), "is not what irr eval")


@pytest.mark.parametrize("value", [1e400, -1, 7, None, [1]])
def test_scores_that_are_none_are_refused(
    irr: Irr, labels_file: Path, gold: Path, tmp_path: Path, value: object
) -> None:
    path = tmp_path / "old.json"
    call = ("eval", "--labels", labels_file, "--gold", gold)
    irr(*call, "--json", path)
    fields = scores(path)
    fields["per_text"]["scores"]["rp@10"][0] = value
    path.write_text(json.dumps(fields).replace("Infinity", "1e400"))
    refused(irr(*call, "--compare", path), "is not what irr eval writes", "rp@10")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("retrieve.text_weight", "gives no value"),
        ("retrieve.nothing=1", 'no setting "retrieve.nothing"'),
        ("retrieve.text_weight=heavy", "retrieve.text_weight"),
        ("retrieve.text_weight=-1", "retrieve.text_weight"),
        ("infer.span_words=NaN", "infer.span_words"),
    ],
)
def test_a_setting_that_cannot_be_set_is_one_line(
    irr: Irr, labels_file: Path, gold: Path, given: str, said: str
) -> None:
    refused(irr("eval", "--labels", labels_file, "--gold", gold, "--set", given), said)


def refused(result: object, *says: str) -> None:
    assert result.returncode == 2, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    for said in says:
        assert said in lines[0]
