"""Retrieve: the queries of many texts to candidates, with one exact, fused score a label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from irr.encoder import Encoder
from irr.index import LabelIndex
from irr.lexical import NameCoverage
from irr.settings import Settings
from irr.types import Candidate, EntryKind, Match, Query, QueryKind

Floats = NDArray[np.float32]

# Up to here a scan of all entries is as fast as the graph, and exact: see eval/scale.py.
EXACT_ENTRIES = 200_000
# Entries that the graph returns for each query when a scan would cost more.
_NEIGHBOURS = 100
# How many labels' names tell how general a span is.
_HIGHEST = 20
# Floats of query-by-entry similarities held at a time (32 MiB).
_BLOCK_FLOATS = 8_388_608


class Retriever(Protocol):
    """Maps the queries of texts to their candidates, best first."""

    def retrieve(
        self, queries: Sequence[Sequence[Query]], top_k: int, explain: bool = False
    ) -> list[list[Candidate]]:
        """Returns at most `top_k` candidates for each text; with their matches where `explain`."""
        ...


class LabelRetriever:
    """Scores labels by their best match with each kind of query.

    For a label l, its entries e and the queries q of each kind k, with c the cosine similarity:

        match(q, e) = c(q, e) - margin of e's kind - span_generality · h(q)
        score(l)    = sum over k: weight of k · max over q, e: match(q, e)
                      + lexical_weight · share of l's name that stands in the text

    times log(prior_weight · prior(l) + e) where priors are used. h(q), for spans only, is the mean of q's
    20 highest similarities to any name: what is near to many labels says little for one of them.

    Labels that one kind of query finds get their true score from the others: all scores of the candidates
    are exact, also above `exact_entries`, where Chroma's graph proposes which labels are scored.
    """

    def __init__(
        self,
        index: LabelIndex,
        encoder: Encoder,
        settings: Settings,
        exact_entries: int = EXACT_ENTRIES,
    ) -> None:
        self._index = index
        self._encoder = encoder
        self._settings = settings
        self._exact = len(index.vectors) <= exact_entries
        margins = np.array([settings.margin(kind) for kind in EntryKind], np.float32)
        self._margin_of: Floats = margins[index.kind_of]
        # A label's entries are those from its start to the next label's; the first is its name.
        self._starts = np.searchsorted(index.label_of, np.arange(len(index.space)))
        self._ends = np.append(self._starts[1:], len(index.label_of))
        self._coverage = NameCoverage(label.name for label in index.space)
        priors = np.array([label.prior or 0.0 for label in index.space], np.float32)
        self._factor: Floats = np.log(settings.prior_weight * priors + np.float32(np.e))

    def retrieve(
        self, queries: Sequence[Sequence[Query]], top_k: int, explain: bool = False
    ) -> list[list[Candidate]]:
        """Returns at most `top_k` candidates for each text, best first, ties in label order."""
        texts = list(dict.fromkeys(query.text for group in queries for query in group))
        if not texts:
            return [[] for _ in queries]
        vectors = self._encoder.encode(texts)
        row_of = {text: row for row, text in enumerate(texts)}
        proposed = None if self._exact else self._index.nearest(vectors, _NEIGHBOURS)
        results = []
        for group in queries:
            rows = np.array([row_of[query.text] for query in group], np.int64)
            near = None if proposed is None else proposed[rows]
            results.append(self._one(group, vectors[rows], near, top_k, explain) if group else [])
        return results

    def _one(
        self,
        queries: Sequence[Query],
        vectors: Floats,
        proposed: NDArray[np.int64] | None,
        top_k: int,
        explain: bool,
    ) -> list[Candidate]:
        index, settings = self._index, self._settings
        if proposed is None:
            labels = np.arange(len(index.space))
            entries, margins, starts = index.vectors, self._margin_of, self._starts
        else:
            labels = np.unique(index.label_of[proposed.ravel()])
            chosen, starts = self._entries_of(labels)
            entries, margins = index.vectors[chosen], self._margin_of[chosen]
        scores = np.zeros(len(labels), np.float32)
        offsets = np.zeros(len(queries), np.float32)
        for kind, members in _by_kind(queries):
            best = np.full(len(entries), -np.inf, np.float32)
            for rows in _blocks(members, len(entries)):
                similarity = vectors[rows] @ entries.T
                if kind is QueryKind.SPAN and settings.span_generality:
                    names = similarity[:, starts]
                    offsets[rows] = settings.span_generality * _mean_of_highest(names)
                    similarity -= offsets[rows, None]
                np.maximum(best, similarity.max(axis=0), out=best)
            scores += settings.kind_weight(kind) * np.maximum.reduceat(best - margins, starts)
        coverage = self._coverage(q.text for q in queries if q.kind is QueryKind.TEXT)[labels]
        scores += settings.lexical_weight * coverage
        scores *= self._factor[labels]
        return [
            Candidate(
                label=index.space[int(labels[i])],
                score=round(float(scores[i]), 6),
                coverage=round(float(coverage[i]), 6),
                matches=self._matches(int(labels[i]), queries, vectors, offsets) if explain else (),
            )
            for i in _top(scores, top_k)
        ]

    def _entries_of(self, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The entries of these labels, one label after the other, and where each label's begin."""
        counts = self._ends[labels] - self._starts[labels]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.repeat(self._starts[labels] - starts, counts) + np.arange(counts.sum()), starts

    def _matches(
        self, label: int, queries: Sequence[Query], vectors: Floats, offsets: Floats
    ) -> tuple[Match, ...]:
        entries = slice(self._starts[label], self._ends[label])
        scores = vectors @ self._index.vectors[entries].T - self._margin_of[entries] - offsets[:, None]
        found = []
        for kind, members in _by_kind(queries):
            member, entry = np.unravel_index(scores[members].argmax(), scores[members].shape)
            row = members[member]
            found.append(
                Match(
                    kind=kind,
                    query=queries[row].text,
                    entry=self._index.entry_text(int(self._starts[label] + entry)),
                    score=round(float(scores[row, entry]), 6),
                )
            )
        return tuple(found)


def _by_kind(queries: Sequence[Query]) -> list[tuple[QueryKind, NDArray[np.int64]]]:
    order = sorted(range(len(queries)), key=lambda i: queries[i].kind)
    return [
        (kind, np.array(list(members))) for kind, members in groupby(order, key=lambda i: queries[i].kind)
    ]


def _blocks(rows: NDArray[np.int64], entries: int) -> Iterator[NDArray[np.int64]]:
    """The rows in pieces whose similarities to all entries fit in bounded memory."""
    step = max(1, _BLOCK_FLOATS // entries)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _mean_of_highest(similarity: Floats) -> Floats:
    """The mean of each row's highest values."""
    count = min(_HIGHEST, similarity.shape[1])
    mean: Floats = np.partition(similarity, -count, axis=1)[:, -count:].mean(axis=1)
    return mean


def _top(scores: Floats, top_k: int) -> NDArray[np.int64]:
    """Positions of the highest scores, best first, ties by position."""
    if top_k < len(scores):
        floor = np.partition(scores, -top_k)[-top_k]
        pool = np.flatnonzero(scores >= floor)
    else:
        pool = np.arange(len(scores))
    return pool[np.argsort(-scores[pool], kind="stable")][:top_k]
