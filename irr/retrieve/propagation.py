"""ParentPropagation: what speaks for a narrower label speaks, in part, for the broader one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irr.labels.space import LabelSpace

# What is not scored: low enough to raise nothing.
_UNSCORED = np.float32(-1e9)


class ParentPropagation:
    """Lifts labels towards the best of their narrower labels, by the parents that labels name.

        lifted(l) = score(l) + share · max(0, max over l's children: score - score(l))

    A text that says "spearphishing" is about phishing, though nothing in it is near to that label's own
    entries. Parents that the label space does not hold count for nothing.

    Args:
        space: The labels.
        share: How much of the difference a label gets, in [0, 1].
    """

    def __init__(self, space: LabelSpace, share: float) -> None:
        number_of = space.number_of
        pairs = sorted(
            (number_of[parent], child)
            for child, label in enumerate(space)
            for parent in dict.fromkeys(label.parents)
            if parent in number_of and number_of[parent] != child
        )
        self._count = len(space)
        self._share = np.float32(share)
        self._children = np.array([child for _, child in pairs], np.int64)
        self._parent_of = np.array([parent for parent, _ in pairs], np.int64)
        # Children of one parent stand together, from its start to the next one's.
        self._parents, self._starts = np.unique(self._parent_of, return_index=True)

    def with_parents(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """These labels and their parents, ascending."""
        return np.union1d(labels, self._parent_of[np.isin(self._children, labels)])

    def lift(self, labels: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores of `labels`, each shape (labels,), lifted by those among them that are narrower."""
        if not len(self._children) or not self._share:
            return scores
        known = np.full(self._count, _UNSCORED)
        known[labels] = scores
        best = np.maximum.reduceat(known[self._children], self._starts)
        known[self._parents] += self._share * np.maximum(0, best - known[self._parents])
        return known[labels]

    def relatives(
        self, labels: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The score of the best parent and of the best child of each of `labels`, each shape (labels,).

        0 for a label without a scored parent or child.
        """
        if not len(self._children):
            return np.zeros_like(scores), np.zeros_like(scores)
        known = np.full(self._count, _UNSCORED)
        known[labels] = scores
        best = np.full((2, self._count), _UNSCORED)
        np.maximum.at(best[0], self._children, known[self._parent_of])
        np.maximum.at(best[1], self._parent_of, known[self._children])
        parent, child = np.where(best > _UNSCORED, best, np.float32(0))[:, labels]
        return parent, child
