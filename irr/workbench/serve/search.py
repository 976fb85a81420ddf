"""Searches the label space while one types: by the words of names and aliases, and by meaning."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irr.labels.hierarchy import known_parents
from irr.program.program import InferRetrieveRank
from irr.retrieve.score import top_positive
from irr.text.words import clean, words
from irr.types import Label

Floats = NDArray[np.float32]
# A word that is only begun counts for less than a whole one, an alias for less than the name.
_BEGUN, _ALIAS = 0.8, 0.95
# How much of a word score an entry has for its words being all that was asked for, and no more.
_WHOLE = 0.25
# A text of fewer characters means too many things.
_MEANS = 3
_BEHIND = "\uffff"


class Found(NamedTuple):
    """A label that was found: its number, and how well it fits; None where it was not searched for."""

    number: int
    score: float | None


class LabelSearch:
    """Finds labels of a program's label space.

    Attributes:
        space: The label space.
    """

    def __init__(self, program: InferRetrieveRank) -> None:
        self._program = program
        self.space = program.space
        self._parents = known_parents(program.space)
        self._narrower = np.bincount(
            [parent for above in self._parents for parent in above], minlength=len(program.space)
        )
        self._index()

    def __call__(self, query: str, limit: int) -> list[Found]:
        """The labels that fit a query best: those that have its words first, then those that mean it."""
        query = clean(query)
        asked = _words(query)
        scores: dict[int, float] = {}
        if asked:
            by_word = self._by_word(asked)
            best = top_positive(by_word, 4 * limit)
            scores = dict(zip(best.tolist(), by_word[best].tolist(), strict=True))
        if len(query) >= _MEANS:
            labels, similar = self._program.stages.retriever.nearest(query, 4 * limit)
            for number, similarity in zip(labels.tolist(), similar.tolist(), strict=True):
                scores[number] = scores.get(number, 0.0) + max(similarity, 0.0)
        found = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        mine = self._program.part
        return [
            Found(number, score) for number, score in found if mine is None or self.space[number].id in mine
        ][:limit]

    def path(self, number: int) -> list[Label]:
        """The labels above a label, the broadest first; one of its parents where it has several."""
        path: list[int] = []
        seen = {number}
        while above := [parent for parent in self._parents[number] if parent not in seen]:
            number = above[0]
            seen.add(number)
            path.append(number)
        return [self.space[number] for number in reversed(path)]

    def parents(self, number: int) -> list[Label]:
        """The labels right above a label."""
        return [self.space[parent] for parent in self._parents[number]]

    def narrower(self, number: int) -> int:
        """How many labels stand right below a label."""
        return int(self._narrower[number])

    def _index(self) -> None:
        """Which names and aliases hold a word, word by word in alphabetical order."""
        postings: dict[str, list[int]] = defaultdict(list)
        labels: list[int] = []
        weights: list[float] = []
        lengths: list[int] = []
        for number, label in enumerate(self.space):
            for place, name in enumerate((label.name, *label.aliases)):
                held = set(_words(name))
                for word in held:
                    postings[word].append(len(labels))
                labels.append(number)
                weights.append(1.0 if place == 0 else _ALIAS)
                lengths.append(len(held))
        self._vocabulary = sorted(postings)
        counts = [len(postings[word]) for word in self._vocabulary]
        self._starts = np.cumsum([0, *counts])
        self._entries = np.array([entry for word in self._vocabulary for entry in postings[word]], np.int32)
        self._weights = np.array(weights, np.float32)
        self._lengths = np.maximum(np.array(lengths, np.float32), 1)
        self._bounds = np.searchsorted(labels, np.arange(len(self.space)))

    def _by_word(self, asked: list[str]) -> Floats:
        """How well the words of each label's best name or alias fit, in [0, 1], shape (labels,)."""
        total = np.zeros(len(self._weights), np.float32)
        whole = np.zeros(len(self._weights), np.float32)
        for word in asked:
            found = np.zeros(len(self._weights), np.float32)
            found[self._holding(word, word + _BEHIND)] = _BEGUN
            exact = self._holding(word, word + "\0")
            found[exact] = 1.0
            whole[exact] += 1
            total += found
        shares = np.minimum(whole / self._lengths, 1.0)
        fits = self._weights * total / len(asked) * (1 - _WHOLE + _WHOLE * shares)
        return np.maximum.reduceat(fits, self._bounds)

    def _holding(self, first: str, behind: str) -> NDArray[np.int32]:
        low, high = (bisect_left(self._vocabulary, word) for word in (first, behind))
        return self._entries[self._starts[low] : self._starts[high]]


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return list(dict.fromkeys(folded[start:end] for start, end in words(folded)))
