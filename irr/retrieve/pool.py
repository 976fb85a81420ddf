"""The labels that are scored for a text, and their entries: all, or those that a cheaper search proposes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from irr.config import RetrieveSettings
from irr.index.store import LabelIndex
from irr.retrieve.examples import ExampleIndex
from irr.retrieve.parts import Part
from irr.retrieve.propagation import ParentPropagation
from irr.retrieve.scoring import Entries, Floats, Ints, top_positive
from irr.types import EntryKind, QueryKind


@dataclass(frozen=True)
class Pool:
    """Labels that are scored together.

    Attributes:
        labels: Their numbers, ascending, shape (labels,).
        entries: Their index entries, label by label.
    """

    labels: Ints
    entries: Entries


class Pools:
    """Finds the pool of each text: every label up to `exact_entries` index entries, proposed labels above.

    Args:
        index: The label index.
        settings: Those of retrieval.
        propagation: Adds the parents of proposed labels, whose scores rest on their children.
        examples: Adds the labels of examples.
    """

    def __init__(
        self,
        index: LabelIndex,
        settings: RetrieveSettings,
        propagation: ParentPropagation,
        examples: ExampleIndex | None,
    ) -> None:
        self._index = index
        self._settings = settings
        self._propagation = propagation
        self._examples = examples
        self._margins: dict[QueryKind, Floats] = {
            query: np.array([settings.margin(kind, query) for kind in EntryKind], np.float32)[index.kind_of]
            for query in QueryKind
        }
        # Entries stand in label order.
        self._bounds = np.searchsorted(index.label_of, np.arange(len(index.space) + 1))

    def of_texts(
        self, parts: Sequence[Sequence[Part]], vectors: Floats, part: Ints | None
    ) -> Iterator[tuple[list[int], Pool]]:
        """The texts that have queries, by number, and the pool that they share.

        Args:
            parts: The parts of each text.
            vectors: Unit vectors of the queries, shape (rows, dimensions).
            part: Labels that are in every pool, by number; None for none.
        """
        asked = [number for number, own in enumerate(parts) if own]
        if self._scans:
            entries = Entries(self._index.vectors, self._bounds[:-1], self._margins)
            yield asked, Pool(np.arange(len(self._index.space)), entries)
            return
        near = self._index.nearest(vectors, self._settings.neighbors)
        for number in asked:
            rows = np.concatenate([s.rows for one in parts[number] for s in one.segments.values()])
            labels = np.unique(self._index.label_of[near[rows].ravel()])
            for one in parts[number]:
                if one.passage is not None:
                    labels = np.union1d(labels, self._sharing_words(one.passage))
            if self._examples is not None:
                labels = np.union1d(labels, self._examples.labels)
            if part is not None:
                labels = np.union1d(labels, part)
            labels = self._propagation.with_parents(labels)
            yield [number], Pool(labels, self.entries_of(labels))

    def nearest(self, vector: Floats) -> tuple[Ints, Floats]:
        """Labels by number, and the cosine of a vector and the most similar entry of each."""
        index = self._index
        if self._scans:
            similar = np.maximum.reduceat(index.vectors @ vector, self._bounds[:-1])
            return np.arange(len(index.space)), similar
        entries = index.nearest(vector[None], self._settings.neighbors)[0]
        labels, label = np.unique(index.label_of[entries], return_inverse=True)
        similar = np.zeros(len(labels), np.float32)
        np.maximum.at(similar, label, index.vectors[entries] @ vector)
        return labels, similar

    def _sharing_words(self, passage: str) -> Ints:
        """The labels of the highest lexical scores for a passage."""
        settings = self._settings
        recall, cosine = self._index.words(passage)
        score = np.float32(settings.name_recall_weight) * recall
        score += np.float32(settings.word_cosine_weight) * cosine
        return top_positive(score, settings.neighbors)

    def entries_of(self, labels: Ints) -> Entries:
        """The entries of these labels, one label after the other."""
        rows, starts = self.rows_of(labels)
        margins = {kind: margin[rows] for kind, margin in self._margins.items()}
        return Entries(self._index.vectors[rows], starts, margins)

    def rows_of(self, labels: Ints) -> tuple[Ints, Ints]:
        """The numbers of these labels' entries, and where those of each label begin."""
        counts = self._bounds[labels + 1] - self._bounds[labels]
        starts = np.cumsum(counts) - counts
        return np.repeat(self._bounds[labels] - starts, counts) + np.arange(counts.sum()), starts

    @property
    def _scans(self) -> bool:
        return len(self._index.vectors) <= self._settings.exact_entries
