"""Lexical evidence: how much of a label's name stands in a text, word by word."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from irr.words import stems


class NameCoverage:
    """For every label the share of its name's words that a text holds, each word by its rarity.

        coverage(l) = sum of idf over the stems of name(l) that the text holds / the sum over all its stems

    with idf(w) = ln(1 + (N - n + 1/2) / (n + 1/2)) for a stem in n of N names, as in BM25 (Robertson &
    Zaragoza 2009).
    """

    def __init__(self, names: Iterable[str]) -> None:
        postings: dict[str, list[int]] = defaultdict(list)
        number = -1
        for number, name in enumerate(names):
            for stem in stems([name]):
                postings[stem].append(number)
        self._postings = {stem: np.array(labels) for stem, labels in postings.items()}
        count = number + 1
        self._idf = {
            stem: float(np.log(1 + (count - len(labels) + 0.5) / (len(labels) + 0.5)))
            for stem, labels in self._postings.items()
        }
        self._total = np.zeros(count, np.float32)
        for stem, labels in self._postings.items():
            self._total[labels] += self._idf[stem]
        np.maximum(self._total, np.finfo(np.float32).tiny, out=self._total)

    def __call__(self, passages: Iterable[str]) -> NDArray[np.float32]:
        """Coverage of each label by all passages of one text together, shape (labels,), in [0, 1]."""
        found = np.zeros_like(self._total)
        # Sorted, so that sums of floats come out the same in every process.
        for stem in sorted(stems(passages)):
            if stem in self._postings:
                found[self._postings[stem]] += self._idf[stem]
        covered: NDArray[np.float32] = found / self._total
        return covered
