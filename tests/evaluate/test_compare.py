"""`irr eval --compare`: runs on the same texts, and one line for runs on others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import InputError
from irr.evaluate.evaluate import EvaluationOptions, compare, evaluate, read_baseline
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank, build
from tests.support import Irr, write_jsonl

GOLD = [
    {"id": "1", "text": "You will bake bread.", "labels": ["bake"]},
    {"id": "2", "text": "Purchase ingredients", "labels": ["buy", "plan"]},
    {"id": "3", "text": "Lead the kitchen staff", "labels": ["staff"]},
    {"id": "4", "text": "anything", "labels": []},
]


def text_of(program: InferRetrieveRank) -> str:
    rows = [GoldRow.model_validate(row) for row in GOLD]
    return evaluate(program, rows, EvaluationOptions(gold="g.jsonl", labels="l.jsonl")).to_text()


def test_a_run_is_compared_with_an_earlier_one(
    irr: Irr,
    kitchen: LabelSpace,
    encoder: SentenceEncoder,
    labels_file: Path,
    index_folder: Path,
    tmp_path: Path,
) -> None:
    earlier = build(
        kitchen,
        encoder=encoder,
        settings=Settings().replace({"retrieve.text_weight": 0.0}),
        index_folder=index_folder,
    )
    gold = write_jsonl(tmp_path / "gold.jsonl", GOLD)
    names, both = tmp_path / "names.json", tmp_path / "both.json"
    names.write_text(text_of(earlier))
    call = ("eval", "--labels", labels_file, "--gold", gold)
    result = irr(*call, "--compare", names, "--json", both)
    assert result.returncode == 0, result.stderr
    assert "compared" in result.stdout and "names" in result.stdout
    before, after = (json.loads(path.read_text("utf-8")) for path in (names, both))
    for name in ("rp@5", "rp@10", "rp@50", "recall@50", "texts", "texts_per_second"):
        assert isinstance(after[name], float | int), "the contract's keys stay what they were"
    assert after["per_text"]["ids"] == ["1", "2", "3"]
    assert before["program"] != after["program"]
    for name, difference in after["compare"][0]["metrics"].items():
        scores = after["per_text"]["scores"][name]
        assert after[name] == pytest.approx(sum(scores) / 3, abs=1e-5)
        assert difference["difference"] == pytest.approx(after[name] - before[name], abs=1e-5)
        low, high = difference["ci95"]
        assert low <= difference["difference"] <= high
        assert 0 < difference["p"] <= 1


def test_what_cannot_be_paired_is_refused(program: InferRetrieveRank, tmp_path: Path) -> None:
    rows = [GoldRow.model_validate(row) for row in GOLD]
    path = tmp_path / "run.json"
    path.write_text(text_of(program))
    assert read_baseline(path, rows).name == "run"
    same = compare(evaluate(program, rows).per_text, read_baseline(path, rows))
    assert {(d.mean, d.p) for d in same.differences.values()} == {(0.0, 1.0)}
    more = [GoldRow.model_validate({**row, "source": "a"}) for row in GOLD]
    assert read_baseline(path, more).name == "run", "other keys count for nothing"
    with pytest.raises(InputError, match=r"texts \(1 are only there, 0 only here\): compare"):
        read_baseline(path, rows[1:])
    changed = [rows[0].model_copy(update={"text": "You will bake cakes."}), *rows[1:]]
    with pytest.raises(InputError, match="the ids are the same, but texts or gold have changed"):
        read_baseline(path, changed)
    path.write_text(json.dumps({"rp@5": 0.5, "texts": 3}))
    with pytest.raises(InputError, match=r'run\.json: is not what irr eval writes \(no "program"\)'):
        read_baseline(path, rows)
    path.write_text("not JSON")
    with pytest.raises(InputError, match=r"run\.json: is not what irr eval writes"):
        read_baseline(path, rows)


def test_a_refusal_is_one_line_before_any_work(irr: Irr, labels_file: Path, tmp_path: Path) -> None:
    gold = write_jsonl(tmp_path / "gold.jsonl", GOLD)
    result = irr("eval", "--labels", labels_file, "--gold", gold, "--compare", tmp_path / "nothing.json")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [f"irr: {tmp_path}/nothing.json: no such file: check the path"]
