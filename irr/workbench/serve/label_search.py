"""Searches the label space as the user types, by the words of names and aliases and by meaning."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from irr import InferRetrieveRank, Label
from irr.text.words import clean, words

Floats = NDArray[np.float32]
# The weight of a word that is only begun against a whole one, and of an alias against the name.
_PREFIX, _ALIAS = 0.8, 0.95
# The share of a word score that depends on how much of the name the query covers.
_COVERAGE = 0.25
# A shorter query has too many meanings.
_SHORTEST_MEANING = 3
# A character that sorts behind all words with the same beginning.
_BEHIND = "\uffff"


class LabelLink(BaseModel):
    """A broader label."""

    id: str
    name: str


class FoundLabel(BaseModel):
    """A label of the label space, and its position in the hierarchy.

    Attributes:
        parents: The labels right above it.
        path: The labels above it, the broadest first; along one parent where it has several.
        narrower: How many labels stand right below it.
        score: How well it fits the query; null where it was asked for by its id.
    """

    id: str
    name: str
    description: str | None
    aliases: tuple[str, ...]
    parents: list[LabelLink]
    path: list[LabelLink]
    narrower: int
    score: float | None


class LabelSearch:
    """Finds labels of a program's label space, by meaning with the program's encoder."""

    def __init__(self, program: InferRetrieveRank) -> None:
        self._program = program
        self._space = program.space
        self._narrower = Counter(parent.id for label in self._space for parent in self._parents(label))
        self._index_words()

    def __call__(self, query: str, limit: int) -> list[FoundLabel]:
        """The labels that fit a query best: those with its words first, then those with its meaning."""
        query = clean(query)
        scores: dict[int, float] = {}
        if typed := _words(query):
            by_word = self._word_scores(typed)
            positive = np.flatnonzero(by_word)
            best = positive[np.argsort(-by_word[positive], kind="stable")[: 4 * limit]]
            scores = dict(zip(best.tolist(), by_word[best].tolist(), strict=True))
        if len(query) >= _SHORTEST_MEANING:
            for label, cosine in self._program.nearest_labels(query, 4 * limit):
                number = self._space.number_of[label.id]
                scores[number] = scores.get(number, 0.0) + max(cosine, 0.0)
        part = self._program.part
        ranking = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        labels = [(self._space[number], score) for number, score in ranking]
        allowed = [(label, score) for label, score in labels if part is None or label.id in part]
        return [self._described(label, round(score, 4)) for label, score in allowed[:limit]]

    def describe(self, label_id: str) -> FoundLabel:
        """The label of an id."""
        return self._described(self._space[self._space.number_of[label_id]], None)

    def _described(self, label: Label, score: float | None) -> FoundLabel:
        return FoundLabel(
            **label.model_dump(include={"id", "name", "description", "aliases"}),
            parents=_links(self._parents(label)),
            path=_links(self._path(label)),
            narrower=self._narrower[label.id],
            score=score,
        )

    def _parents(self, label: Label) -> list[Label]:
        """The labels right above a label; parents that are not labels are left out."""
        number_of = self._space.number_of
        known = (number_of.get(parent) for parent in dict.fromkeys(label.parents))
        return [self._space[number] for number in known if number is not None]

    def _path(self, label: Label) -> list[Label]:
        path = [label]
        while above := [parent for parent in self._parents(path[0]) if parent not in path]:
            path.insert(0, above[0])
        return path[:-1]

    def _index_words(self) -> None:
        """Indexes the names and aliases that contain each word, words in alphabetical order."""
        postings: dict[str, list[int]] = defaultdict(list)
        starts: list[int] = []
        weights: list[float] = []
        lengths: list[int] = []
        for label in self._space:
            starts.append(len(weights))
            for position, name in enumerate((label.name, *label.aliases)):
                contained = _words(name)
                for word in contained:
                    postings[word].append(len(weights))
                weights.append(_ALIAS if position else 1.0)
                lengths.append(len(contained))
        self._vocabulary = sorted(postings)
        self._word_starts = np.cumsum([0, *(len(postings[word]) for word in self._vocabulary)])
        self._names = np.array([name for word in self._vocabulary for name in postings[word]], np.int32)
        self._label_starts = np.array(starts)
        self._weights = np.array(weights, np.float32)
        self._lengths = np.maximum(np.array(lengths, np.float32), 1)

    def _word_scores(self, typed: list[str]) -> Floats:
        """The word score of each label's best name or alias, in [0, 1], shape (labels,)."""
        total = np.zeros(len(self._weights), np.float32)
        whole = np.zeros(len(self._weights), np.float32)
        for word in typed:
            score = np.zeros(len(self._weights), np.float32)
            score[self._names_with(word, word + _BEHIND)] = _PREFIX
            exact = self._names_with(word, word + "\0")
            score[exact] = 1.0
            whole[exact] += 1
            total += score
        coverage = np.minimum(whole / self._lengths, 1.0)
        fit = self._weights * total / len(typed) * (1 - _COVERAGE + _COVERAGE * coverage)
        return np.maximum.reduceat(fit, self._label_starts)

    def _names_with(self, first: str, behind: str) -> NDArray[np.int32]:
        low, high = (bisect_left(self._vocabulary, word) for word in (first, behind))
        return self._names[self._word_starts[low] : self._word_starts[high]]


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return list(dict.fromkeys(folded[start:end] for start, end in words(folded)))


def _links(labels: list[Label]) -> list[LabelLink]:
    return [LabelLink(id=label.id, name=label.name) for label in labels]
