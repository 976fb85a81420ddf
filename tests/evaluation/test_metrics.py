"""Metrics: values worked out by hand, and what must hold for any ranking."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irr.evaluation.metrics import ndcg_at_k, precision_at_k, recall_at_k, reciprocal_rank, rp_at_k
from irr.statistics import estimate

PREDICTED = ["a", "b", "c", "d", "e"]


def test_values_by_hand() -> None:
    """Gold {b, d, x}: hits at ranks 2 and 4.

    RP@2 = 1 / min(2, 3); RP@5 = 2 / min(5, 3); P@5 = 2 / 5; recall@5 = 2 / 3; reciprocal rank 1 / 2.
    nDCG@5 = (1/log2 3 + 1/log2 5) / (1/log2 2 + 1/log2 3 + 1/log2 4).
    """
    gold = {"b", "d", "x"}
    assert rp_at_k(PREDICTED, gold, 2) == 1 / 2
    assert rp_at_k(PREDICTED, gold, 5) == 2 / 3
    assert precision_at_k(PREDICTED, gold, 5) == 2 / 5
    assert recall_at_k(PREDICTED, gold, 5) == 2 / 3
    assert reciprocal_rank(PREDICTED, gold) == 1 / 2
    expected = (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 1 / 2)
    assert ndcg_at_k(PREDICTED, gold, 5) == pytest.approx(expected)


def test_a_short_ranking_is_held_to_the_full_k() -> None:
    assert precision_at_k(["a"], {"a"}, 10) == 0.1
    assert rp_at_k(["a"], {"a", "b"}, 10) == 0.5
    assert rp_at_k([], {"a"}, 10) == 0
    assert reciprocal_rank([], {"a"}) == 0


@given(
    st.lists(st.sampled_from("abcdefgh")), st.sets(st.sampled_from("abcdefgh"), min_size=1), st.integers(1, 9)
)
def test_a_duplicate_counts_once_and_no_metric_leaves_0_to_1(
    predicted: list[str], gold: set[str], k: int
) -> None:
    distinct = list(dict.fromkeys(predicted))
    for metric in (rp_at_k, precision_at_k, recall_at_k, ndcg_at_k):
        value = metric(predicted, gold, k)
        assert value == metric(distinct, gold, k)
        assert 0 <= value <= 1 + 1e-12
    assert reciprocal_rank(predicted, gold) == reciprocal_rank(distinct, gold)


def test_without_gold_there_is_no_metric() -> None:
    with pytest.raises(ValueError, match="without gold"):
        rp_at_k(PREDICTED, set(), 5)
    with pytest.raises(ValueError, match="no text has gold"):
        estimate([])


def test_the_interval_is_seeded_and_covers_the_normal_approximation() -> None:
    """For 400 values half 0, half 1: standard error 0.5 / 20 = 0.025, so 0.5 ± 0.049."""
    values = [0.0, 1.0] * 200
    e = estimate(values)
    assert e == estimate(values)
    assert e.mean == 0.5
    assert e.low == pytest.approx(0.451, abs=0.01)
    assert e.high == pytest.approx(0.549, abs=0.01)
