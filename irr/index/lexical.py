"""Lexical evidence: which words a passage shares with a label's name, and with all that the label says."""

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
    """How much of each label's words a passage holds, each word by its rarity.

        coverage(l) = sum of idf over the stems of l's name that the passage holds / the sum over all of them
        likeness(l) = cosine of the passage's stems and those of all that l says, each weighing its idf

    with idf(w) = ln(1 + (N - n + 1/2) / (n + 1/2)) for a stem in n of N labels, as in BM25 (Robertson &
    Zaragoza 2009). A stem counts once however often it stands there.

    Args:
        names: The stems of each label's name.
        wholes: The stems of all that each label says, its name included.
    """

    def __init__(self, names: Postings, wholes: Postings) -> None:
        self._names = names
        self._wholes = wholes
        self._name_total = names.sums(power=1)
        self._whole_norm = np.sqrt(wholes.sums(power=2))

    def __call__(self, passage: str) -> tuple[Floats, Floats]:
        """Coverage and likeness of every label, each of shape (labels,), in [0, 1]."""
        # Sorted, so that sums of floats come out the same in every process.
        held = sorted(stems([passage]))
        coverage, _ = self._names.meet(held, power=1)
        likeness, square = self._wholes.meet(held, power=2)
        coverage /= self._name_total
        likeness /= self._whole_norm * np.float32(square**0.5)
        return coverage, likeness

    def save(self, path: Path) -> None:
        """Writes all of it to `path`, as arrays."""
        arrays = {**self._names.arrays("name"), **self._wholes.arrays("whole")}
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path, count: int) -> LexicalIndex:
        """Reads what `save` wrote for `count` labels.

        Raises:
            OSError, ValueError, KeyError: If it is not there, or damaged.
        """
        with np.load(path) as arrays:
            return cls(*(Postings.of_arrays(arrays, kind, count) for kind in ("name", "whole")))


class Postings:
    """Which labels hold a stem, and how rare it is.

    Args:
        known: Each stem once.
        starts: Where each stem's labels begin in `labels`, and where the last one's end.
        labels: Label numbers, stem by stem.
        count: How many labels there are.
    """

    def __init__(self, known: list[str], starts: Ints, labels: Ints, count: int) -> None:
        if len(starts) != len(known) + 1 or starts[-1] != len(labels):
            raise ValueError("arrays that do not belong together")
        self._stems = known
        self._starts = starts
        self._labels = labels
        self._count = count
        held = np.diff(starts)
        self._idf = np.log(1 + (count - held + 0.5) / (held + 0.5))
        self._row_of = {stem: row for row, stem in enumerate(known)}

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> Postings:
        """Takes one text for each label."""
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
        """The sum of idf^power over all stems of each label, never 0."""
        weights = np.repeat(self._idf**power, np.diff(self._starts))
        total = np.bincount(self._labels, weights, self._count).astype(np.float32)
        return np.maximum(total, np.finfo(np.float32).tiny, out=total)

    def meet(self, held: Iterable[str], power: int) -> tuple[Floats, float]:
        """The sum of idf^power over the stems that each label shares, and over all stems known here."""
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
        """What `of_arrays` makes this again from; no stem holds a line break."""
        text = np.frombuffer("\n".join(self._stems).encode(), np.uint8)
        return {f"{kind}_stems": text, f"{kind}_starts": self._starts, f"{kind}_labels": self._labels}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], kind: str, count: int) -> Postings:
        """The inverse of `arrays`."""
        text = arrays[f"{kind}_stems"].tobytes().decode()
        starts = arrays[f"{kind}_starts"].astype(np.int32)
        return cls(text.split("\n") if text else [], starts, arrays[f"{kind}_labels"].astype(np.int32), count)
