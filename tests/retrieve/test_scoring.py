"""Scoring: each function against its formula, written as plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from irr.retrieve import score as scoring
from irr.retrieve.score import Floats, PassageEvidence, Pool, with_passage, with_terms
from irr.types import QueryKind

TEXT, SPAN, TERM = QueryKind.TEXT, QueryKind.SPAN, QueryKind.TERM
RANDOM = np.random.default_rng(7)


def units(count: int) -> Floats:
    vectors = RANDOM.normal(size=(count, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


STARTS = [0, 2, 3, 7, 8]
ENDS = [2, 3, 7, 8, 9]
POOL = Pool(
    labels=np.arange(5),
    vectors=units(9),
    starts=np.array(STARTS),
    kinds=np.zeros(9, np.uint8),
    margins={kind: RANDOM.random(9).astype(np.float32) for kind in QueryKind},
)
VECTORS = units(12)
SEGMENTS = [
    (TEXT, np.array([0])),
    (SPAN, np.array([1, 2, 3, 4])),
    (TEXT, np.array([5])),
    (SPAN, np.array([6, 2])),
    (TERM, np.array([8, 9, 10, 11])),
]


def plain_hubness(row: int, names: int) -> float:
    similarities = sorted((float(VECTORS[row] @ POOL.vectors[start]) for start in STARTS), reverse=True)
    nearest = similarities[:names]
    return sum(nearest) / len(nearest)


@pytest.mark.parametrize("floats", [9, 30, 10_000], ids=["one query a block", "three", "all"])
@pytest.mark.parametrize("names", [2, 20])
def test_best_matches(floats: int, names: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "BLOCK_FLOATS", floats)
    found, lost = scoring.best_matches(VECTORS, SEGMENTS, POOL, 0.3, names)
    assert found.shape == (len(SEGMENTS), len(STARTS))
    for (kind, rows), best, penalties in zip(SEGMENTS, found, lost, strict=True):
        expected = [0.3 * plain_hubness(row, names) if kind is SPAN else 0 for row in rows]
        assert penalties == pytest.approx(expected, abs=1e-6)
        for label, (start, end) in enumerate(zip(STARTS, ENDS, strict=True)):
            matches = [
                float(VECTORS[row] @ POOL.vectors[entry]) - POOL.margins[kind][entry] - penalty
                for row, penalty in zip(rows, expected, strict=True)
                for entry in range(start, end)
            ]
            assert best[label] == pytest.approx(max(matches), abs=1e-6)


def test_nothing_that_is_given_is_changed() -> None:
    before = VECTORS.copy(), POOL.vectors.copy()
    scoring.best_matches(VECTORS, SEGMENTS, POOL, 0.3, 2)
    assert np.array_equal(before[0], VECTORS)
    assert np.array_equal(before[1], POOL.vectors)


def test_best_spans() -> None:
    rows, penalties = SEGMENTS[1][1], np.array([0.1, 0.0, 0.3, 0.2], np.float32)
    found = scoring.best_spans(VECTORS[rows], penalties, POOL)
    for label, (start, end) in enumerate(zip(STARTS, ENDS, strict=True)):
        matches = [
            max(
                float(VECTORS[row] @ POOL.vectors[entry]) - POOL.margins[SPAN][entry] - penalty
                for entry in range(start, end)
            )
            for row, penalty in zip(rows, penalties, strict=True)
        ]
        assert found[label] == matches.index(max(matches))


def test_redundancy() -> None:
    spans = np.array([4, 2, 4, -1, 4, 2, -1, 0])
    better = [sum(other == span for other in spans[:place]) for place, span in enumerate(spans)]
    expected = [
        0.07 * math.log(1 + count) if span >= 0 else 0 for count, span in zip(better, spans, strict=True)
    ]
    assert scoring.redundancy(spans, 0.07) == pytest.approx(expected, abs=1e-7)
    assert len(scoring.redundancy(np.array([], np.int64), 0.07)) == 0


def test_top() -> None:
    scores = np.array([1, 3, 2, 3, 0, 2], np.float32)
    assert scoring.top(scores, 4).tolist() == [1, 3, 2, 5]
    assert scoring.top(scores, 3).tolist() == [1, 3, 2], "ties in label order"
    assert scoring.top(scores, 9).tolist() == [1, 3, 2, 5, 0, 4]


def joined_with(before: PassageEvidence | None, scores: list[float], number: int) -> PassageEvidence:
    array = np.array(scores, np.float32)
    return with_passage(before, array, array / 10, array / 100, number, 0.05)


def test_passages_are_joined_and_the_best_one_is_named() -> None:
    scores = [[1.0, 0.5], [0.8, 0.7], [1.0, 0.2]]
    joined = None
    for number, of in enumerate(scores):
        joined = joined_with(joined, of, number)
    assert joined
    joined_with_terms = with_terms(joined, np.array([0.1, 0.2], np.float32), 3)
    for label in range(2):
        column = [of[label] for of in scores]
        total = 0.05 * math.log(sum(math.exp(score / 0.05) for score in column))
        assert joined.score[label] == pytest.approx(total, abs=1e-6)
        assert joined_with_terms.score[label] == pytest.approx(total + 0.1 * (label + 1), abs=1e-6)
        assert joined.part[label] == column.index(max(column))
        assert joined.recall[label] == pytest.approx(max(column) / 10)
        assert joined.cosine[label] == pytest.approx(max(column) / 100)


def test_terms_alone() -> None:
    alone = with_terms(None, np.array([0.5, 0.7], np.float32), 0)
    assert alone.score.tolist() == pytest.approx([0.5, 0.7])
    assert alone.recall.tolist() == alone.cosine.tolist() == [0, 0]
