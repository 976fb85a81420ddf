"""Promises of precision and recall are kept on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, hypergeom

from irr.calibrate.calibration import cut_off
from irr.calibrate.fit import next_bound, precision_promises, recall_promises
from irr.statistics import precision_bound

_SPLITS = 200
_TARGETS = (0.8, 0.9)


def draw(texts: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts of uneven difficulty whose 20 candidates are right with the probabilities that stand there.

    Some gold labels are no candidates.
    """
    ease = rng.normal(0, 1, (texts, 1))
    odds = ease + 2 - np.arange(20) * 0.35 + rng.normal(0, 1.5, (texts, 20))
    probability = 1 / (1 + np.exp(-odds))
    right = rng.random((texts, 20)) < probability
    return probability, right, right.sum(axis=1) + rng.poisson(0.2, texts)


@pytest.fixture(scope="module")
def truth() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return draw(50_000, np.random.default_rng(1))


@pytest.mark.parametrize("texts", [68, 136, 400])
def test_a_promised_precision_is_kept_on_the_next_texts(texts: int) -> None:
    rng = np.random.default_rng(texts)
    kept: dict[float, list[bool]] = {target: [] for target in _TARGETS}
    for _ in range(_SPLITS):
        promises = precision_promises(*draw(texts, rng)[:2])
        probability, right, _ = draw(texts, rng)
        for target in _TARGETS:
            if (cut := cut_off(promises, target)) is not None:
                returned = probability >= cut
                kept[target].append(bool((returned & right).sum() >= target * returned.sum()))
    assert len(kept[0.8]) > 0.8 * _SPLITS
    for values in kept.values():
        assert sum(values) >= len(values) - 0.02 * _SPLITS
        assert sum(values) >= 0.95 * len(values)


@pytest.mark.parametrize("texts", [30, 136])
def test_a_promised_precision_is_that_of_all_texts(
    texts: int, truth: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    rng = np.random.default_rng(texts)
    everywhere, correct, _ = truth
    order = np.argsort(-everywhere, axis=None)
    falling, precision = (
        everywhere.ravel()[order],
        np.cumsum(correct.ravel()[order]) / np.arange(1, 1_000_001),
    )
    broken = dict.fromkeys(_TARGETS, 0)
    for _ in range(_SPLITS):
        promises = precision_promises(*draw(texts, rng)[:2])
        for target in _TARGETS:
            cut = cut_off(promises, target)
            if cut is not None:
                broken[target] += precision[np.searchsorted(-falling, -cut, side="right") - 1] < target
    assert max(broken.values()) <= 0.01 * _SPLITS


@pytest.mark.parametrize("size", [20, 60, 200])
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_the_next_labels_fall_below_their_bound_no_oftener_than_said(size: int, confidence: float) -> None:
    """By the exact distribution of the right ones among half of a pool."""
    right = np.arange(size + 1)
    one = np.ones(size, int)
    bounds = np.array([next_bound(one * (one.cumsum() <= count), one, confidence) for count in right])
    for among in range(2 * size + 1):
        chance = hypergeom.pmf(right, 2 * size, among, size)
        assert chance[(among - right) / size < bounds - 1e-9].sum() <= 1.03 * (1 - confidence)


def test_the_bound_of_the_next_labels_is_near_that_of_an_exact_test() -> None:
    """100 of 100 right promise 0.9: with 8 wrong among the 200, all are in the other half in 0.3 %."""
    one = np.ones(100, int)
    assert 0.92 < next_bound(one, one, 0.99) < 0.94


@pytest.mark.parametrize("target", _TARGETS)
def test_a_promised_recall_is_kept_in_the_mean_over_draws_of_the_gold(
    target: float, truth: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    rng = np.random.default_rng(0)
    probability, right, gold = (part[:5_000] for part in truth)
    known = gold > 0
    recalls = []
    for _ in range(_SPLITS):
        cut = cut_off(recall_promises(*draw(136, rng)), target)
        assert cut is not None
        found = (right & (probability >= cut)).sum(axis=1)
        recalls.append((found[known] / gold[known]).mean())
    assert target - 0.005 <= np.mean(recalls) <= target + 0.02


def test_more_gold_promises_more_and_comes_nearer_to_the_best_cut_off() -> None:
    rng = np.random.default_rng(3)
    few, many = (precision_promises(*draw(texts, rng)[:2]) for texts in (50, 2_000))
    assert many[-1][0] > few[-1][0]
    assert (cut_off(many, 0.8) or 1) < (cut_off(few, 0.8) or 1)


def test_the_bound_is_clopper_pearson_where_labels_are_independent() -> None:
    right = np.array([1] * 90 + [0] * 10)
    assert precision_bound(right, np.ones(100, int)) == pytest.approx(beta.ppf(0.05, 90, 11))


def test_labels_of_a_text_that_agree_count_as_one() -> None:
    right = np.array([1] * 90 + [0] * 10)
    one = precision_bound(right, np.ones(100, int))
    assert precision_bound(5 * right, np.full(100, 5)) == pytest.approx(one)


def test_gold_that_is_no_candidate_cannot_be_recalled() -> None:
    probability = np.full((100, 1), 0.9)
    promises = recall_promises(probability, np.ones((100, 1), bool), np.full(100, 2))
    assert promises[-1][0] == pytest.approx(0.49)


def test_nothing_is_promised_without_candidates() -> None:
    none = np.zeros((5, 0))
    assert precision_promises(none, none.astype(bool)) == ()
    assert recall_promises(none, none.astype(bool), np.ones(5, int)) == ()
