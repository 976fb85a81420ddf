"""ParentPropagation: broader labels lifted towards their best narrower label."""

from __future__ import annotations

import numpy as np
import pytest

from irr.labels.space import LabelSpace
from irr.retrieve.score import ParentPropagation

SPACE = LabelSpace(
    [
        {"id": "a", "name": "a"},
        {"id": "a1", "name": "a1", "parents": ["a", "gone"]},
        {"id": "a2", "name": "a2", "parents": ["a", "a2"]},
        {"id": "b", "name": "b"},
        {"id": "b1", "name": "b1", "parents": ["b", "a"]},
    ]
)
ALL = np.arange(5)


def test_half_of_the_way_to_the_best_child() -> None:
    scores = np.array([1, 2, 1.5, 3, 1], np.float32)
    lifted = ParentPropagation(SPACE, 0.5).lift(ALL, scores)
    assert lifted == pytest.approx([1.5, 2, 1.5, 3, 1])
    assert ParentPropagation(SPACE, 0.0).lift(ALL, scores) == pytest.approx(scores)


def test_labels_that_are_not_scored_lift_nothing() -> None:
    some = np.array([0, 2, 3])
    assert ParentPropagation(SPACE, 1.0).lift(some, np.array([1, 4, 2], np.float32)) == pytest.approx(
        [4, 4, 2]
    )


def test_parents_come_along() -> None:
    relatives = ParentPropagation(SPACE, 0.5)
    assert relatives.with_parents(np.array([1])).tolist() == [0, 1]
    assert relatives.with_parents(np.array([4])).tolist() == [0, 3, 4]


def test_a_space_without_parents_is_left_alone() -> None:
    relatives = ParentPropagation(LabelSpace(["x", "y"]), 0.5)
    assert relatives.lift(np.arange(2), np.array([1, 2], np.float32)) == pytest.approx([1, 2])
    assert relatives.with_parents(np.array([1])).tolist() == [1]
