"""Lexical evidence: the words that a passage shares with a label's name and with its whole text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irr.text.words import stems

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


class LexicalIndex:
    """The IDF-weighted name recall and word cosine of every label for a passage.

        name recall(l) = sum of idf over the stems of l's name in the passage / sum over all stems of the name
        word cosine(l) = cosine of the passage's stems and the stems of l's whole text, weighted by idf

    with idf(w) = ln(1 + (N - n + 1/2) / (n + 1/2)) for a stem in n of N labels, as in BM25 (Robertson &
    Zaragoza 2009). A stem counts once in a text.
    `names` are of the labels' names, `wholes` of their names, aliases and descriptions.
    """

    def __init__(self, names: Postings, wholes: Postings) -> None:
        self._names = names
        self._wholes = wholes
        self._name_total = names.sums(power=1)
        self._whole_norm = np.sqrt(wholes.sums(power=2))

    def __call__(self, passage: str) -> tuple[Floats, Floats]:
        """Name recall and word cosine of every label, each of shape (labels,), in [0, 1]."""
        # Sorted, because sums of floats depend on their order.
        held = sorted(stems([passage]))
        name_recall, _ = self._names.meet(held, power=1)
        word_cosine, square = self._wholes.meet(held, power=2)
        name_recall /= self._name_total
        word_cosine /= self._whole_norm * np.float32(square**0.5)
        return name_recall, word_cosine

    def save(self, path: Path) -> None:
        """Writes the index to `path` as arrays."""
        arrays = {**self._names.arrays("name"), **self._wholes.arrays("whole")}
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path, count: int) -> LexicalIndex:
        """Reads what `save` wrote for `count` labels; raises any error of `numpy.load` or a KeyError."""
        with np.load(path) as arrays:
            return cls(*(Postings.of_arrays(arrays, kind, count) for kind in ("name", "whole")))


class Postings:
    """The numbers of the labels that hold each stem, and the stem's IDF.

    `labels` holds those of the first stem in `known` first; `starts` says where those of each stem start, and
    where the last ones end.
    """

    def __init__(self, known: list[str], starts: Ints, labels: Ints, count: int) -> None:
        if len(starts) != len(known) + 1 or starts[-1] != len(labels):
            raise ValueError("the arrays differ in length")
        self._starts = starts
        self._labels = labels
        self._count = count
        held = np.diff(starts)
        self._idf = np.log(1 + (count - held + 0.5) / (held + 0.5))
        self._row_of = {stem: row for row, stem in enumerate(known)}

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> Postings:
        """The postings of texts, one for each label."""
        postings: dict[str, list[int]] = defaultdict(list)
        number = -1
        for number, text in enumerate(texts):
            for stem in stems([text]):
                postings[stem].append(number)
        known = sorted(postings)
        starts = np.cumsum([0, *(len(postings[stem]) for stem in known)], dtype=np.int32)
        labels = np.array([label for stem in known for label in postings[stem]], np.int32)
        return cls(known, starts, labels, number + 1)

    def sums(self, power: int) -> Floats:
        """The sum of idf^power over all stems of each label, above 0, shape (labels,)."""
        weights = np.repeat(self._idf**power, np.diff(self._starts))
        total = np.bincount(self._labels, weights, self._count).astype(np.float32)
        return np.maximum(total, np.finfo(np.float32).tiny, out=total)

    def meet(self, held: Iterable[str], power: int) -> tuple[Floats, float]:
        """The sum of idf^power over the stems that a label shares, by label, and over all known stems."""
        found = np.zeros(self._count, np.float32)
        total = 0.0
        for stem in held:
            row = self._row_of.get(stem)
            if row is not None:
                weight = float(self._idf[row] ** power)
                found[self._labels[self._starts[row] : self._starts[row + 1]]] += weight
                total += weight
        return found, total or 1.0

    def arrays(self, kind: str) -> dict[str, NDArray[np.generic]]:
        """The postings as arrays, which `of_arrays` reads."""
        text = np.frombuffer("\n".join(self._row_of).encode(), np.uint8)
        return {f"{kind}_stems": text, f"{kind}_starts": self._starts, f"{kind}_labels": self._labels}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], kind: str, count: int) -> Postings:
        """The postings in arrays that `arrays` made."""
        text = arrays[f"{kind}_stems"].tobytes().decode()
        starts = arrays[f"{kind}_starts"].astype(np.int32)
        return cls(text.split("\n") if text else [], starts, arrays[f"{kind}_labels"].astype(np.int32), count)
