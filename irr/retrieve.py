"""Retrieve: the queries of many texts to candidates, with one exact, fused score a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from irr.encoder import Encoder
from irr.index import LabelIndex
from irr.lexical import NameCoverage
from irr.neighbours import Neighbours
from irr.settings import Settings
from irr.types import Candidate, EntryKind, Match, Query, QueryKind

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
# The rows of one text's query vectors, by kind of query.
Kinds = Mapping[QueryKind, Ints]

# Up to here a scan of all entries is faster than the graph, and exact: see eval/results/scale.json.
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
                      + example_weight · similarity of the text to the nearest example of l

    times log(prior_weight · prior(l) + e) where priors are used. h(q), for spans only, is the mean of q's
    20 highest similarities to any name: what is near to many labels says little for one of them.

    Labels that one kind of query finds get their true score from the others. Above `exact_entries` Chroma's
    graph proposes which labels are scored; their matches are exact all the same, and h(q) is taken over
    their names.
    """

    def __init__(
        self,
        index: LabelIndex,
        encoder: Encoder,
        settings: Settings,
        exact_entries: int = EXACT_ENTRIES,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._index = index
        self._encoder = encoder
        self._settings = settings
        self._neighbours = neighbours
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
        results: list[list[Candidate]] = [[] for _ in queries]
        if not texts:
            return results
        vectors = self._encoder.encode(texts)
        row_of = {text: row for row, text in enumerate(texts)}
        asked = [i for i, group in enumerate(queries) if group]
        kinds = [_by_kind(queries[i], row_of) for i in asked]
        # What each query's matches lose; filled in as texts are scored.
        lost = np.zeros(len(texts), np.float32)
        scored = self._scan(kinds, vectors, lost) if self._exact else self._graph(kinds, vectors, lost)
        for i, rows, (labels, scores) in zip(asked, kinds, scored, strict=True):
            passages = [query.text for query in queries[i] if query.kind is QueryKind.TEXT]
            coverage = self._coverage(passages)[labels]
            example = self._example(rows, vectors)[labels]
            scores = (
                scores + self._settings.lexical_weight * coverage + self._settings.example_weight * example
            )
            scores *= self._factor[labels]
            results[i] = [
                Candidate(
                    label=self._index.space[int(labels[top])],
                    score=round(float(scores[top]), 6),
                    coverage=round(float(coverage[top]), 6),
                    example=round(float(example[top]), 6),
                    matches=self._matches(int(labels[top]), rows, texts, vectors, lost) if explain else (),
                )
                for top in _top(scores, top_k)
            ]
        return results

    def _example(self, kinds: Kinds, vectors: Floats) -> Floats:
        if self._neighbours is None or QueryKind.TEXT not in kinds:
            return np.zeros(len(self._index.space), np.float32)
        return self._neighbours.evidence(vectors[kinds[QueryKind.TEXT]])

    def _scan(self, texts: Sequence[Kinds], vectors: Floats, lost: Floats) -> Iterator[tuple[Ints, Floats]]:
        """Labels and scores for each text, by looking at every entry."""
        labels = np.arange(len(self._index.space))
        for scores in self._fuse(texts, vectors, lost, self._index.vectors, self._margin_of, self._starts):
            yield labels, scores

    def _graph(self, texts: Sequence[Kinds], vectors: Floats, lost: Floats) -> Iterator[tuple[Ints, Floats]]:
        """Labels and scores for each text, of the labels that Chroma's graph finds near its queries."""
        near = self._index.nearest(vectors, _NEIGHBOURS)
        for kinds in texts:
            labels = np.unique(self._index.label_of[near[np.concatenate(list(kinds.values()))].ravel()])
            if self._neighbours is not None:
                labels = np.union1d(labels, self._neighbours.labels)
            entries, starts = self._entries_of(labels)
            margins = self._margin_of[entries]
            for scores in self._fuse([kinds], vectors, lost, self._index.vectors[entries], margins, starts):
                yield labels, scores

    def _fuse(
        self,
        texts: Sequence[Kinds],
        vectors: Floats,
        lost: Floats,
        entries: Floats,
        margins: Floats,
        starts: Ints,
    ) -> Iterator[Floats]:
        """The weighted sum over kinds of each text's best matches with each label.

        Queries of many texts meet the entries in one product: alone, each would read all entries again.
        """
        best: dict[QueryKind, Floats] = {}
        current = 0
        for block in _blocks(texts, max(1, _BLOCK_FLOATS // len(entries))):
            similarity = vectors[np.concatenate([rows for _, _, rows in block])] @ entries.T
            first = 0
            for text, kind, rows in block:
                if text != current:
                    yield self._sum(best, margins, starts)
                    best, current = {}, text
                part = similarity[first : first + len(rows)]
                first += len(rows)
                if kind is QueryKind.SPAN:
                    lost[rows] = self._generality(part[:, starts])
                    part -= lost[rows, None]
                highest = part.max(axis=0)
                best[kind] = np.maximum(best[kind], highest) if kind in best else highest
        yield self._sum(best, margins, starts)

    def _sum(self, best: dict[QueryKind, Floats], margins: Floats, starts: Ints) -> Floats:
        scores = np.zeros(len(starts), np.float32)
        for kind, highest in best.items():
            scores += self._settings.kind_weight(kind) * np.maximum.reduceat(highest - margins, starts)
        return scores

    def _generality(self, similarity: Floats) -> Floats:
        """What each span's matches lose, from its similarities to names, shape (spans, names)."""
        count = min(_HIGHEST, similarity.shape[1])
        highest = np.partition(similarity, -count, axis=1)[:, -count:]
        lost: Floats = self._settings.span_generality * highest.mean(axis=1)
        return lost

    def _entries_of(self, labels: Ints) -> tuple[Ints, Ints]:
        """The entries of these labels, one label after the other, and where each label's begin."""
        counts = self._ends[labels] - self._starts[labels]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.repeat(self._starts[labels] - starts, counts) + np.arange(counts.sum()), starts

    def _matches(
        self, label: int, kinds: Kinds, texts: Sequence[str], vectors: Floats, lost: Floats
    ) -> tuple[Match, ...]:
        own = slice(self._starts[label], self._ends[label])
        found = []
        for kind, rows in kinds.items():
            scores = vectors[rows] @ self._index.vectors[own].T - self._margin_of[own] - lost[rows, None]
            query, entry = np.unravel_index(scores.argmax(), scores.shape)
            found.append(
                Match(
                    kind=kind,
                    query=texts[rows[query]],
                    entry=self._index.entry_text(int(self._starts[label] + entry)),
                    score=round(float(scores[query, entry]), 6),
                )
            )
        return tuple(found)


def _by_kind(queries: Sequence[Query], row_of: Mapping[str, int]) -> Kinds:
    """The rows of a text's query vectors, by kind."""
    rows: dict[QueryKind, list[int]] = {}
    for query in queries:
        rows.setdefault(query.kind, []).append(row_of[query.text])
    return {kind: np.array(numbers) for kind, numbers in rows.items()}


def _blocks(texts: Sequence[Kinds], size: int) -> Iterator[list[tuple[int, QueryKind, Ints]]]:
    """All query rows with their text's number and kind, in order, in blocks of at most `size` rows."""
    block: list[tuple[int, QueryKind, Ints]] = []
    room = size
    for text, kinds in enumerate(texts):
        for kind, rows in kinds.items():
            while len(rows):
                block.append((text, kind, rows[:room]))
                rows, room = rows[room:], room - len(rows[:room])
                if not room:
                    yield block
                    block, room = [], size
    if block:
        yield block


def _top(scores: Floats, top_k: int) -> Ints:
    """Positions of the highest scores, best first, ties by position."""
    if top_k < len(scores):
        floor = np.partition(scores, -top_k)[-top_k]
        pool = np.flatnonzero(scores >= floor)
    else:
        pool = np.arange(len(scores))
    return pool[np.argsort(-scores[pool], kind="stable")][:top_k]
