"""Krippendorff's alpha, checked against the worked examples that he published, and the distance of sets."""

from __future__ import annotations

import random

import pytest

from irr.workbench.review.summary import alpha, masi, overlapping


def nominal(one: object, other: object) -> float:
    return float(one != other)


# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", sections A, B, C and D; None is missing.
MEG_AND_OWEN = ("0100000010", "1110010000")
BEN_AND_GERRY = ("aabbdcccedda", "babbbccceddd")
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)


def test_alpha_is_as_published() -> None:
    assert alpha(zip(*MEG_AND_OWEN, strict=True), nominal) == pytest.approx(0.095, abs=5e-4)
    assert alpha(zip(*BEN_AND_GERRY, strict=True), nominal) == pytest.approx(0.692, abs=5e-4)
    units = [[value for value in unit if value is not None] for unit in zip(*OBSERVERS, strict=True)]
    assert alpha(units, nominal) == pytest.approx(0.743, abs=5e-4)
    assert alpha(units, lambda a, b: (a - b) ** 2) == pytest.approx(0.849, abs=5e-4)


def test_without_disagreement_to_explain_there_is_no_alpha() -> None:
    assert alpha([("a", "a"), ("a", "a")], nominal) is None
    assert alpha([("a",), ("b",)], nominal) is None
    assert alpha([("a", "a"), ("b", "b")], nominal) == 1


def test_alpha_of_sets_is_the_same_by_all_pairs_and_by_those_that_overlap() -> None:
    chance = random.Random(0)
    units = [
        [frozenset(chance.sample("abcdefgh", chance.randint(0, 3))) for _ in range(3)] for _ in range(40)
    ]
    assert alpha(units, masi, overlapping) == pytest.approx(alpha(units, masi), abs=1e-12)


def test_the_distance_of_sets_is_that_of_masi() -> None:
    one, two, four = frozenset("a"), frozenset("ab"), frozenset("abcd")
    assert masi(two, two) == masi(frozenset(), frozenset()) == 0
    assert masi(two, four) == pytest.approx(1 - 2 / 4 * 2 / 3)
    assert masi(frozenset("ab"), frozenset("bc")) == pytest.approx(1 - 1 / 3 * 1 / 3)
    assert masi(one, frozenset("z")) == 1
