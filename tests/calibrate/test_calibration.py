"""Probabilities, scope and choices on data whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from pydantic import ValidationError

from irr.calibrate.calibration import SHIFTED, Calibration, Scope, count, is_shifted, shift, unusual
from irr.calibrate.decision import Decision, Thresholds, best_f1_size, typical_text
from irr.calibrate.fit import RankedText, fit
from irr.errors import UsageError
from irr.statistics import calibration_error


def draw(texts: int, rng: np.random.Generator) -> tuple[list[RankedText], list[np.ndarray]]:
    """Rankings whose labels are right with a logistic probability of their features, and those."""
    rankings, probabilities = [], []
    for _ in range(texts):
        score = np.sort(rng.normal(0, 1, 20) + rng.normal(0, 1))[::-1]
        features = np.column_stack([score, score - score[0], np.log1p(np.arange(20)), np.zeros((20, 5))])
        probability = 1 / (1 + np.exp(1 - 1.5 * score + np.log1p(np.arange(20))))
        right = rng.random(20) < probability
        profile = np.array([score[0], score[0] - score.mean(), 0, 0])
        rankings.append(RankedText(features, profile, right, int(right.sum())))
        probabilities.append(probability)
    return rankings, probabilities


@pytest.mark.parametrize(("texts", "error"), [(30, 0.08), (136, 0.04), (1_000, 0.02)])
def test_probabilities_come_nearer_to_the_truth_with_more_texts(texts: int, error: float) -> None:
    rng = np.random.default_rng(0)
    calibration = fit(draw(3 * texts, rng)[0][: 2 * texts], "x")
    rankings, truth = draw(500, rng)
    found = np.concatenate([calibration.curve.probabilities(one.features) for one in rankings])
    assert np.abs(found - np.concatenate(truth)).mean() < error
    assert calibration_error(found, np.concatenate([one.right for one in rankings])) < error


def test_labels_with_one_example_do_not_make_examples_speak_against_a_label() -> None:
    """Each right label has only the example that is left out, so that only wrong ones have any."""
    rankings, _ = draw(100, np.random.default_rng(0))
    odd = []
    for one in rankings:
        features = one.features.copy()
        features[:, -1] = np.where(one.right, 0.0, 0.5)
        odd.append(one._replace(features=features))
    assert fit(odd, "x").curve.weights[-2:] == (0, 0)


def test_the_calibration_error_is_the_gap_between_promise_and_truth() -> None:
    right = np.array([True] * 6 + [False] * 4)
    assert calibration_error(np.full(10, 0.6), right, bins=1) == pytest.approx(0)
    assert calibration_error(np.full(10, 0.9), right, bins=1) == pytest.approx(0.3)


def test_a_calibration_is_the_same_after_json() -> None:
    rankings, _ = draw(60, np.random.default_rng(0))
    calibration = fit(rankings, "x")
    again = Calibration.model_validate_json(calibration.model_dump_json())
    assert again == calibration
    assert (
        again.curve.probabilities(rankings[0].features)
        == calibration.curve.probabilities(rankings[0].features)
    ).all()


def test_too_few_texts_and_texts_without_a_right_label_are_refused() -> None:
    rankings, _ = draw(80, np.random.default_rng(0))
    with pytest.raises(UsageError, match="20 texts with gold: too few"):
        fit([one for one in rankings if one.gold][:20], "x")
    wrong = [one._replace(right=np.zeros(20, bool), gold=1) for one in rankings]
    with pytest.raises(UsageError, match="none of the labels that the program ranks are right"):
        fit(wrong, "x")


def test_what_the_gold_cannot_support_is_refused_with_what_it_can() -> None:
    calibration = fit(draw(200, np.random.default_rng(0))[0], "x")
    most = calibration.recall[-1][0]
    with pytest.raises(UsageError, match=f"cannot promise a recall of 0.999, at most {most:.2f}"):
        calibration.thresholds(Decision(recall=0.999))
    assert calibration.thresholds(Decision(recall=most)).probability == calibration.recall[-1][1]


def test_a_promise_has_its_scope_and_other_choices_have_theirs() -> None:
    calibration = fit(draw(200, np.random.default_rng(0))[0], "x")
    assert calibration.thresholds(Decision()).scope == 0
    assert calibration.thresholds(Decision(recall=0.5)).scope == 0
    assert calibration.thresholds(Decision(precision=0.3)).scope == 0.05
    assert calibration.thresholds(Decision(min_probability=0.5)).scope == 0.05
    assert calibration.thresholds(Decision(best_f1=True, scope=0.0)).scope == 0


@pytest.mark.parametrize(
    "given",
    [
        {"precision": 0.9, "recall": 0.9},
        {"min_probability": 0.1, "best_f1": True},
        {"precision": 0.9, "scope": 0.1},
    ],
)
def test_one_way_to_choose_labels_at_a_time(given: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Decision(**given)  # type: ignore[arg-type]


def expected_f1(chosen: Sequence[int], probability: np.ndarray) -> float:
    """By its definition: over all 2^n ways in which labels can be right."""
    total = 0.0
    for bits in range(2 ** len(probability)):
        right = np.array([bits >> i & 1 for i in range(len(probability))])
        weight = np.prod(np.where(right, probability, 1 - probability))
        total += weight * 2 * right[list(chosen)].sum() / max(len(chosen) + right.sum(), 1)
    return float(total)


def test_the_set_of_the_best_f1_is_all_but_the_best_by_enumeration() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        probability = np.sort(rng.beta(0.5, 1, 8))[::-1]
        values = [expected_f1(range(k), probability) for k in range(1, 9)]
        assert max(values) - values[best_f1_size(probability) - 1] < 0.03
    assert best_f1_size(np.array([])) == 0


def test_a_typical_text_draws_choices_towards_the_best_single_cut_off() -> None:
    """With much of it, a label is returned if and only if its probability is at least half of the best F1."""
    rng = np.random.default_rng(0)
    probability = np.sort(rng.beta(0.5, 2, (1_000, 10)))[:, ::-1]
    hits, size = typical_text(probability.ravel(), 1_000, 0.0)
    for row in probability[:50]:
        assert best_f1_size(row, typical=(1e6 * hits, 1e6 * size)) == (row >= hits / size).sum()
    assert best_f1_size(np.array([0.02, 0.01]), typical=(hits, size)) == 0


def test_a_cut_keeps_by_probability_whatever_the_rank() -> None:
    probability = np.array([0.3, 0.9, 0.1])
    assert Thresholds(probability=0.3).select(probability, 1.0).tolist() == [True, True, False]
    assert Thresholds(best_f1=True).select(probability, 1.0).tolist() == [False, True, False]
    assert not Thresholds(scope=0.05).select(probability, 0.05).any()


def test_texts_like_the_calibration_texts_are_refused_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    refused = []
    for _ in range(100):
        scope = Scope.fit(rng.normal(0, 1, (100, 4)))
        refused.append(np.mean([scope.p_value(one) <= 0.05 for one in rng.normal(0, 1, (50, 4))]))
    assert 0.03 < np.mean(refused) < 0.06


def test_a_shift_is_noticed_and_a_like_sample_is_none() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        scope = Scope.fit(rng.normal(0, 1, (136, 4)))
        counts: tuple[int, ...] = ()
        for one in rng.normal(0, 1, (300, 4)):
            counts = count(counts, scope.p_value(one))
        alarms += shift(counts, 136) < 0.05
        assert sum(counts) == 300
    assert alarms <= 0.05 * 200
    shifted: tuple[int, ...] = ()
    for one in rng.normal(-1, 1, (300, 4)):
        shifted = count(shifted, scope.p_value(one))
    assert shift(shifted, 136) < SHIFTED
    assert is_shifted(shifted, 136)
    assert unusual(shifted) > 0.25
    assert not is_shifted((10, *[5] * 18, 0), 136)
    assert shift((), 136) == 1
