"""Sets of labels are scored as their definitions say, and eval shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from irr.calibration.decision import Decision, Thresholds
from irr.calibration.fit import calibrate
from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.evaluation.evaluate import EvaluationOptions, evaluate
from irr.evaluation.sets import SetCollector
from irr.frozen.freeze import freeze
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank, build
from irr.types import Prediction, RankedLabel
from tests.calibration.test_program import GOLD
from tests.evaluation.test_report import opened  # noqa: F401
from tests.support import Irr, write_jsonl


def prediction(probabilities: dict[str, float], scope: float = 0.5) -> Prediction:
    labels = (RankedLabel(id=n, name=n, score=p, probability=p) for n, p in probabilities.items())
    return Prediction(labels=tuple(labels), scope=scope)


def row(labels: set[str]) -> GoldRow:
    return GoldRow(id="1", text="a text", labels=tuple(labels))


def test_precision_recall_and_f1_by_hand() -> None:
    """Returned {a, b}, {c}, {}; gold {a}, {c, d}, {a}: 2 of 3 right, 2 of 4 found."""
    scorer = SetCollector(Decision(min_probability=0.5), Thresholds(probability=0.5, scope=0.05))
    scorer.add(row({"a"}), prediction({"a": 0.9, "b": 0.5, "c": 0.1}))
    scorer.add(row({"c", "d"}), prediction({"c": 0.7, "d": 0.4}))
    scorer.add(row({"a"}), prediction({"a": 0.9}, scope=0.01))
    sets = scorer.scores()
    assert {name: e.mean for name, e in sets.micro.items()} == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 4, "f1": 4 / 7}
    )
    assert {name: e.mean for name, e in sets.example.items()} == pytest.approx(
        {"precision": 1.5 / 3, "recall": 1.5 / 3, "f1": (2 / 3 + 2 / 3 + 0) / 3}
    )
    # a: 1 of 1 returned, 1 of 2 gold; b: never gold; c: right; d: never returned.
    assert sets.macro == pytest.approx({"precision": 2 / 4, "recall": 1.5 / 4, "f1": (2 / 3 + 0 + 1 + 0) / 4})
    assert sets.sizes == (2, 1, 0)
    assert sets.abstained == 1
    assert sets.unsure == pytest.approx((0.3, 0.3, 1.0))
    at = next(one for one in sets.cutoffs if one.cut_off == 0.9)
    assert (at.precision, at.recall, at.abstained) == (1.0, 0.25, 2)


def test_without_a_choice_the_best_ten_are_scored_and_a_promise_is_compared() -> None:
    scorer = SetCollector(Decision(), Thresholds())
    scorer.add(row({"3"}), prediction({str(n): 0.1 for n in range(30)}))
    assert scorer.scores().sizes == (10,)
    assert scorer.scores().promise is None
    scorer = SetCollector(Decision(recall=0.8), Thresholds(probability=0.1))
    scorer.add(row({"3", "99"}), prediction({str(n): 0.1 for n in range(30)}))
    name, promised, kept = scorer.scores().promise or ("", 0, None)
    assert (name, promised, kept and kept.mean) == ("recall", 0.8, 0.5)


@pytest.mark.parametrize("hierarchy", ["closed", "leaves"])
def test_sets_in_a_hierarchy_are_those_that_the_program_returns(
    kitchen: LabelSpace, encoder: SentenceEncoder, index_folder: Path, hierarchy: str
) -> None:
    settings = Settings().replace({"hierarchy": hierarchy})
    program = calibrate(build(kitchen, encoder=encoder, settings=settings, index_folder=index_folder), GOLD)
    decision = Decision(min_probability=0.02)
    sets = evaluate(program, GOLD, EvaluationOptions(decision=decision)).sets
    returned = [len(one.labels) for one in program.batch([row.text for row in GOLD], decision=decision)]
    assert len(set(returned)) > 1
    assert sets and sets.sizes == tuple(returned)


def test_eval_shows_the_sets_of_a_calibrated_program(
    irr: Irr,
    program: InferRetrieveRank,
    tmp_path: Path,
    opened: Any,  # noqa: F811
) -> None:
    rows = write_jsonl(tmp_path / "gold.jsonl", [row.model_dump() for row in GOLD])
    folder, scores, report = tmp_path / "program", tmp_path / "scores.json", tmp_path / "report.html"
    freeze(calibrate(program, GOLD), folder)
    call = ("eval", "--program", folder, "--gold", rows)
    shown = irr(*call, "--min-probability", "0.5", "--cutoffs", "--json", scores, "--report", report)
    assert shown.returncode == 0, shown.stderr
    assert "sets of labels: min_probability 0.5" in shown.stdout
    assert "expected calibration error" in shown.stdout
    assert "texts without" in shown.stdout
    sets = json.loads(scores.read_text())["sets"]
    assert sets["decision"] == {"min_probability": 0.5}
    assert sets["micro"]["precision"][0] > 0.8
    assert len(sets["cutoffs"]) == 19
    page = opened(report)
    decisions = page.locator("#decisions")
    assert "Labels returned: min probability 0.5." in decisions.inner_text()
    assert decisions.get_by_text("chosen: 50.0").count() == 1
    assert decisions.locator("circle").count() == 10
    page.get_by_label("Order").select_option("least sure first")
    promised = irr(*call, "--recall", "0.5")
    assert "promised recall 0.5: " in promised.stdout
    plain = irr("eval", "--labels", folder / "labels.jsonl", "--gold", rows, "--cutoffs")
    assert plain.returncode == 2
    assert "run irr calibrate" in plain.stderr
