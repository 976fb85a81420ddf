"""Metrics against trec_eval, and the paired bootstrap against a t-test: neither shares a line with ours."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from irr.evaluation.metrics import ndcg_at_k, precision_at_k, recall_at_k, reciprocal_rank, rp_at_k, rp_curve
from irr.statistics import paired_bootstrap, ratio

pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec_eval is not installed: make setup")


def test_random_rankings_score_as_trec_eval_scores_them() -> None:
    rng = np.random.default_rng(7)
    space = [f"label-{i}" for i in range(300)]
    rankings = {f"text-{i}": list(rng.permutation(space)[: rng.integers(1, 80)]) for i in range(300)}
    gold = {text: set(rng.choice(space, rng.integers(1, 40), replace=False)) for text in rankings}
    cuts = (1, 5, 10, 50)
    names = {f"{m}.{','.join(map(str, cuts))}" for m in ("P", "recall", "ndcg_cut")}
    judge = pytrec_eval.RelevanceEvaluator(
        {text: {str(label): 1 for label in labels} for text, labels in gold.items()},
        {*names, "recip_rank", "num_rel"},
    )
    theirs = judge.evaluate(
        {
            text: {str(label): float(-rank) for rank, label in enumerate(labels)}
            for text, labels in rankings.items()
        }
    )
    assert any(0 < row["recip_rank"] < 1 for row in theirs.values())
    for text, predicted in rankings.items():
        right, row = gold[text], theirs[text]
        assert reciprocal_rank(predicted, right) == pytest.approx(row["recip_rank"], abs=1e-9)
        for k in cuts:
            assert precision_at_k(predicted, right, k) == pytest.approx(row[f"P_{k}"], abs=1e-9)
            assert recall_at_k(predicted, right, k) == pytest.approx(row[f"recall_{k}"], abs=1e-9)
            assert ndcg_at_k(predicted, right, k) == pytest.approx(row[f"ndcg_cut_{k}"], abs=1e-9)
            # trec_eval has no RP@k; it is P@k · k / min(k, |gold|).
            expected = row[f"P_{k}"] * k / min(k, row["num_rel"])
            assert rp_at_k(predicted, right, k) == pytest.approx(expected, abs=1e-9)
            assert rp_curve(predicted, right, 50)[k - 1] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.05])
def test_the_paired_bootstrap_agrees_with_the_t_test_where_that_applies(shift: float) -> None:
    rng = np.random.default_rng(3)
    theirs = rng.uniform(size=400)
    ours = theirs + rng.normal(shift, 0.2, size=400)
    d = paired_bootstrap(list(ours), list(theirs))
    t = stats.ttest_rel(ours, theirs)
    low, high = t.confidence_interval(0.95)
    assert d == paired_bootstrap(list(ours), list(theirs)), "seeded"
    assert d.mean == pytest.approx((ours - theirs).mean())
    assert (d.low, d.high) == pytest.approx((low, high), abs=0.002)
    assert d.p == pytest.approx(t.pvalue, abs=0.02)


def test_runs_that_are_equal_and_runs_that_always_differ() -> None:
    same = paired_bootstrap([0.2, 0.9, 0.4], [0.2, 0.9, 0.4])
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
    always = paired_bootstrap([0.6] * 50, [0.5] * 50)
    assert always.mean == pytest.approx(0.1)
    assert always.p < 0.001
    with pytest.raises(ValueError, match="no values"):
        paired_bootstrap([], [])


def test_a_ratio_is_over_labels_and_its_interval_over_texts() -> None:
    """Three texts of 1, 2 and 1 gold labels, 1, 1 and 0 of them found; one without any counts for nothing."""
    e = ratio([1, 1, 0, 0], [1, 2, 1, 0])
    assert e.mean == 0.5
    assert 0 <= e.low < 0.5 < e.high <= 1
