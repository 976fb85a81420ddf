"""Examples as evidence: the nearest, and the share of those that resemble a text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from irr.index.examples import ExampleIndex
from irr.labels.space import LabelSpace
from irr.types import Example

VECTORS = {"bake": (1.0, 0.0), "bread": (0.6, 0.8), "wash": (0.0, 1.0)}


def encode(texts: Sequence[str]) -> np.ndarray:
    """The vectors that stand in `VECTORS`."""
    return np.array([VECTORS[text] for text in texts], np.float32).reshape(len(texts), 2)


def index(leave_one_out: bool = False) -> ExampleIndex:
    space = LabelSpace([{"id": id, "name": id} for id in "abc"])
    examples = [
        Example(text="bake", labels=("a",)),
        Example(text="bread", labels=("a", "b")),
        Example(text="wash", labels=("b",)),
    ]
    return ExampleIndex(examples, space, encode, leave_one_out)


def test_examples_speak_for_their_labels_as_far_as_they_resemble_the_text() -> None:
    found = index().evidence(np.array([VECTORS["bake"]], np.float32))
    weight = np.exp(np.array([1.0, 0.6, 0.0]) / 0.1)
    assert found.nearest.tolist() == pytest.approx([1.0, 0.6, 0.0])
    assert found.share.tolist() == pytest.approx(
        [(weight[0] + weight[1]) / weight.sum(), (weight[1] + weight[2]) / weight.sum(), 0]
    )


def test_an_example_that_is_scored_counts_for_nothing() -> None:
    found = index(leave_one_out=True).evidence(np.array([VECTORS["bake"]], np.float32))
    weight = np.exp(np.array([0.6, 0.0]) / 0.1)
    assert found.nearest.tolist() == pytest.approx([0.6, 0.6, 0.0])
    assert found.share.tolist() == pytest.approx([weight[0] / weight.sum(), 1.0, 0])
