"""The outlook on the texts to review: what the program proposes for each, found while people review."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irr.types import Prediction, RankedLabel

# Labels of a text that count as proposed for it.
SHOWN = 10


def unsureness(labels: Sequence[RankedLabel]) -> float:
    """How unsure a program is of a text.

    With probabilities: the mistakes that are expected among its first labels where each is taken as its
    probability says, the sum of min(p, 1 - p), and the share of a right label that they lack where they
    come to less than one. Without: how near the second label's score is to the first's.
    """
    first = [label.probability for label in labels[:SHOWN] if label.probability is not None]
    if first:
        return float(sum(min(p, 1 - p) for p in first) + max(0.0, 1 - sum(first)))
    if len(labels) < 2:
        return 1.0
    return 1 / (1 + labels[0].score - labels[1].score)


class Outlook:
    """What is known of each text so far; safe to read while `look` runs in another thread.

    Args:
        texts: The texts.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.unsure = np.full(len(texts), -1.0)
        self.labels: list[dict[str, float]] = [{} for _ in texts]
        self._texts = texts
        self._nearest = np.full(len(texts), -1.0)
        self._near_to: set[int] = set()

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which texts the program has read, shape (texts,)."""
        return self.unsure >= 0

    def look(self, predictions: Iterable[Prediction], stop: Callable[[], bool] = lambda: False) -> None:
        """Takes what the program says of each text, in order, until told to stop."""
        for number, prediction in enumerate(predictions):
            found = prediction.labels
            self.labels[number] = {
                one.id: one.score if one.probability is None else one.probability for one in found
            }
            self.unsure[number] = unsureness(found)
            if stop():
                return

    def nearest(self, reviewed: Iterable[int]) -> NDArray[np.float64]:
        """How near each text is to the nearest of those reviewed, shape (texts,); -1 where none is.

        Nearness is the cosine of their words, the common ones counting little (TF-IDF).
        """
        wanted = set(reviewed)
        if not self._near_to <= wanted:
            self._nearest[:] = -1.0
            self._near_to = set()
        if new := sorted(wanted - self._near_to):
            nearness = (self._words @ self._words[new].T).max(axis=1).toarray().ravel()
            self._nearest = np.maximum(self._nearest, nearness)
            self._near_to = wanted
        return self._nearest

    @cached_property
    def _words(self) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        counts = HashingVectorizer(n_features=2**18, alternate_sign=False, norm=None).transform(self._texts)
        return TfidfTransformer().fit_transform(counts).tocsr()
