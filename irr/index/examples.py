"""Labelled examples: those that resemble a text speak for their labels, and can be shown to a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import unit_mean
from irr.labels.space import LabelSpace
from irr.prompts.pack import MAX_NAME, MAX_TERMS, Demo, demo_text
from irr.types import Example

Floats = NDArray[np.float32]
# Above this two texts are one and the same.
_SAME = 0.9999
# Of the softmax that says how much each example speaks for a text.
_TEMPERATURE = 0.1


@dataclass(frozen=True)
class ExampleEvidence:
    """What the examples say for each label of the space; each array has the shape (labels,).

    How many examples have a label is no evidence: a text that is left out of its own evidence would give its
    labels away by their missing example.
    """

    nearest: Floats  # cosine similarity of the nearest example that has the label, from 0 up; 0 without one
    share: Floats  # share of the examples that have the label, weighted by exp(similarity / 0.1)


class ExampleIndex:
    """Finds examples by the cosine similarity of whole texts.

    Args:
        examples: Texts with labels of the label space; those without labels are left out.
        space: The label space.
        encode: Gives a unit vector for each text, as the mean of its passages' vectors.
        leave_one_out: Whether an example counts for other texts only, as it must where examples are scored.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        space: LabelSpace,
        encode: Callable[[Sequence[str]], Floats],
        leave_one_out: bool = False,
    ) -> None:
        self._encode = encode
        self._leave_one_out = leave_one_out
        self._labels = len(space)
        usable = [example for example in examples if example.labels]
        self._example_of = np.repeat(np.arange(len(usable)), [len(example.labels) for example in usable])
        self._label_of = np.array(
            [space.number_of[label] for example in usable for label in example.labels], np.int64
        )
        self._vectors = encode([example.text for example in usable])
        self._demos = [demo_of(example, space) for example in usable]
        self.labels = np.unique(self._label_of)

    def evidence(self, passages: Floats) -> ExampleEvidence:
        """What the examples say for a text with these passages, of the shape (passages, dimensions)."""
        similarity, counts = self._similarity(unit_mean(passages))
        nearest = np.zeros(self._labels, np.float32)
        np.maximum.at(nearest, self._label_of, similarity[self._example_of])
        weight = counts * np.exp(similarity / np.float32(_TEMPERATURE))
        weight /= max(float(weight.sum()), 1e-12)
        share = np.bincount(self._label_of, weight[self._example_of], self._labels)
        return ExampleEvidence(nearest, share.astype(np.float32))

    def demos(self, texts: Sequence[str], count: int) -> list[tuple[Demo, ...]]:
        """The `count` examples that resemble each text most, the nearest last, next to the question."""
        chosen = []
        for vector in self._encode(texts):
            similarity, _ = self._similarity(vector)
            order = np.argsort(-similarity, kind="stable")[:count]
            # What is left out has a similarity of 0, and so has what has nothing to do with the text.
            chosen.append(tuple(self._demos[i] for i in reversed(order) if similarity[i] > 0))
        return chosen

    def _similarity(self, vector: Floats) -> tuple[Floats, Floats]:
        """The similarity of each example to a text, and 1 for each that counts; shape (examples,)."""
        similarity: Floats = self._vectors @ vector
        counts = np.ones_like(similarity)
        if self._leave_one_out:
            counts[similarity > _SAME] = 0
        return similarity * counts, counts


def demo_of(example: Example, space: LabelSpace) -> Demo:
    """An example as language models are shown it: cut to what a demo may hold, its labels by name."""
    names = (" ".join(space[space.number_of[label]].name.split()) for label in example.labels)
    distinct = {name.casefold(): name[:MAX_NAME].strip() for name in names}
    return Demo(text=demo_text(example.text), terms=tuple(distinct.values())[:MAX_TERMS])
