"""The queue: chooses the next text for a reviewer, by the order that they ask for."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from irr import Prediction, RankedLabel
from irr.errors import UsageError
from irr.io.texts import TextRow
from irr.statistics import Bools, Floats
from irr.workbench.review.judgments import Judgment, Order

# Labels of a text that are shown and count as proposed.
SHOWN = 10
# Seconds for which a text that is open on one person's screen is not given to another.
_LEASE = 900.0


@lru_cache(100_000)
def random_position(seed: int, text_id: str | int) -> str:
    """The position of a text in the random order of a seed, which does not depend on the other texts."""
    return hashlib.sha256(f"{seed}\n{text_id!r}".encode()).hexdigest()


def random_sample(judgments: Iterable[Judgment]) -> list[Judgment]:
    """The judgments of texts that chance alone chose.

    These are the texts up to the last one that was reviewed in random order. A text among them that was
    reviewed in another order counts, too, as chance would have chosen it.
    """
    judgments = list(judgments)
    ends: dict[int, str] = {}
    for one in judgments:
        if one.order is Order.RANDOM:
            ends[one.seed] = max(ends.get(one.seed, ""), random_position(one.seed, one.text_id))
    ids = {one.text_id for one in judgments}
    reached = {name for name in ids for seed, end in ends.items() if random_position(seed, name) <= end}
    return [one for one in judgments if one.text_id in reached]


def uncertainty(labels: Sequence[RankedLabel]) -> float:
    """How uncertain a program is about a text.

    With probabilities: the expected mistakes among its first labels, the sum of min(p, 1 - p), and what they
    lack of one right label, max(0, 1 - sum p). Without: how near the second label's score is to the first's.
    """
    first = [label.probability for label in labels[:SHOWN] if label.probability is not None]
    if first:
        return float(sum(min(p, 1 - p) for p in first) + max(0.0, 1 - sum(first)))
    if len(labels) < 2:
        return 1.0
    return 1 / (1 + labels[0].score - labels[1].score)


class ReviewQueue:
    """Chooses texts by number, also while `read` runs; a text that is open elsewhere is not given out."""

    def __init__(self, texts: Sequence[TextRow], seed: int) -> None:
        self._texts = texts
        positions = [random_position(seed, text.id) for text in texts]
        self._random = np.array(sorted(range(len(texts)), key=positions.__getitem__), int)
        self._number_of = {text.id: number for number, text in enumerate(texts)}
        # By text number: the person who has it open, and since when.
        self._leases: dict[int, tuple[str, float]] = {}
        self._uncertainty = np.full(len(texts), -1.0)
        self._label_weights: list[dict[str, float]] = [{} for _ in texts]
        self._similarity = np.full(len(texts), -1.0)
        self._similar_to: set[int] = set()

    @property
    def known(self) -> Bools:
        """Which texts the program has read, shape (texts,)."""
        return self._uncertainty >= 0

    def read(self, predictions: Iterable[Prediction], stop: Callable[[], bool] = lambda: False) -> None:
        """Takes the program's prediction for each text, in order, until `stop` says so."""
        for number, prediction in enumerate(predictions):
            self._label_weights[number] = {
                label.id: label.score if label.probability is None else label.probability
                for label in prediction.labels
            }
            self._uncertainty[number] = uncertainty(prediction.labels)
            if stop():
                return

    def next(
        self, order: Order, reviewer: str, judgments: Iterable[Judgment], label: str | None = None
    ) -> int | None:
        """The number of the next text for a person; None if no text of that order is left.

        Texts with judgments that count are given out again for second opinions only.

        Raises:
            UsageError: If the order needs a label, and none is named.
        """
        reviewers: dict[int, set[str]] = {}
        for judgment in judgments:
            number = self._number_of.get(judgment.text_id)
            if number is not None:
                reviewers.setdefault(number, set()).add(judgment.reviewer)
        now = time.monotonic()
        self._leases = {n: lease for n, lease in self._leases.items() if now - lease[1] < _LEASE}
        left = np.ones(len(self._texts), bool)
        if order is Order.SECOND:
            left[:] = False
            left[[number for number, names in reviewers.items() if reviewer not in names]] = True
        else:
            left[list(reviewers)] = False
            left[[number for number, (holder, _) in self._leases.items() if holder != reviewer]] = False
        chosen = self._first(order, left, reviewers.keys(), label)
        if chosen is not None:
            self._leases[chosen] = (reviewer, now)
        return chosen

    def _first(self, order: Order, left: Bools, judged: Iterable[int], label: str | None) -> int | None:
        known = left & self.known
        match order:
            case Order.LISTED:
                return _best(left, -np.arange(len(left), dtype=float))
            case Order.UNSURE:
                return _best(known, self._uncertainty)
            case Order.LABEL:
                if label is None:
                    raise UsageError("the order by label names no label", "name one")
                weight = np.array([weights.get(label, -np.inf) for weights in self._label_weights])
                return _best(known & np.isfinite(weight), weight)
            case Order.DIFFERENT if judged:
                return _best(left, -self._similarity_to(set(judged)))
        by_chance = self._random[left[self._random]]
        return int(by_chance[0]) if len(by_chance) else None

    def _similarity_to(self, judged: set[int]) -> Floats:
        """The TF-IDF cosine of each text and the nearest of those judged, shape (texts,)."""
        if not self._similar_to <= judged:
            self._similarity[:] = -1.0
            self._similar_to = set()
        if new := sorted(judged - self._similar_to):
            cosines = (self._word_vectors @ self._word_vectors[new].T).max(axis=1).toarray().ravel()
            self._similarity = np.maximum(self._similarity, cosines)
            self._similar_to = judged
        return self._similarity

    @cached_property
    def _word_vectors(self) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        vectorizer = HashingVectorizer(n_features=2**18, alternate_sign=False, norm=None)
        counts = vectorizer.transform([text.text for text in self._texts])
        return TfidfTransformer().fit_transform(counts).tocsr()


def _best(allowed: Bools, value: Floats) -> int | None:
    """The number of the highest value that is allowed, the first of equal ones."""
    return int(np.where(allowed, value, -np.inf).argmax()) if allowed.any() else None
