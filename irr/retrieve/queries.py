"""The queries of texts by passage, the labels and entries that they meet, and the spans worth encoding.

Of a long text, the spans that are the likeliest to match a label are encoded. Each passage is encoded anyway,
and the states of its tokens give each of its spans a vector in context. A span is as likely as the best
match of that vector, in any passage, with any entry of a label.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from irr.config import RetrieveSettings
from irr.encoders.base import Encoder, encode_places
from irr.index.examples import ExampleIndex
from irr.index.store import LabelIndex
from irr.retrieve.score import BLOCK_FLOATS, Floats, Ints, ParentPropagation, Pool, top, top_positive
from irr.types import EntryKind, Query, QueryKind

# Passages whose spans have vectors at a time: some 70 spans each, 30 MB.
_BLOCK = 256


@dataclass(frozen=True)
class TextPart:
    """A passage and its spans, or the terms proposed for the whole text."""

    passage: str | None  # the passage's text; None for terms
    place: tuple[int, int] | None  # where it stands in the text
    queries: Mapping[QueryKind, Sequence[Query]]
    rows: Mapping[QueryKind, Ints]  # the rows of the queries' vectors


def parts_of(queries: Sequence[Query], row_of: Mapping[str, int]) -> list[TextPart]:
    """A text's passages in order, then its terms."""
    groups: dict[int, dict[QueryKind, list[Query]]] = {}
    for query in queries:
        number = sys.maxsize if query.kind is QueryKind.TERM else query.passage
        groups.setdefault(number, {}).setdefault(query.kind, []).append(query)
    parts: list[TextPart] = []
    for number, by_kind in sorted(groups.items()):
        texts = by_kind.get(QueryKind.TEXT, [])
        start, end = (texts[0].start, texts[-1].end) if texts else (None, None)
        parts.append(
            TextPart(
                passage=None if number == sys.maxsize else "\n".join(query.text for query in texts),
                place=(start, end) if start is not None and end is not None else None,
                queries=by_kind,
                rows={
                    kind: np.array([row_of[query.text] for query in group]) for kind, group in by_kind.items()
                },
            )
        )
    return parts


def blocks(texts: Sequence[Sequence[TextPart]], segments: int) -> Iterator[list[tuple[int, int]]]:
    """The numbers of text and part, in order, in blocks of at most so many segments, or of one part."""
    block: list[tuple[int, int]] = []
    room = segments
    for text, parts in enumerate(texts):
        for number, part in enumerate(parts):
            if block and len(part.rows) > room:
                yield block
                block, room = [], segments
            block.append((text, number))
            room -= len(part.rows)
    if block:
        yield block


class Pools:
    """Finds the pool of each text: every label up to `exact_entries` index entries, proposed labels above.

    `propagation` adds the parents of proposed labels, whose scores rest on their children, and `examples` the
    labels of examples.
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
        self._scans = len(index.vectors) <= settings.exact_entries
        self._margins: dict[QueryKind, Floats] = {
            query: np.array([settings.margin(kind, query) for kind in EntryKind], np.float32)[index.kind_of]
            for query in QueryKind
        }
        # Entries stand in label order.
        self._bounds = np.searchsorted(index.label_of, np.arange(len(index.space) + 1))

    def of_texts(
        self, texts: Sequence[Sequence[TextPart]], vectors: Floats, within: Ints | None
    ) -> Iterator[tuple[list[int], Pool]]:
        """Yields the numbers of texts that have queries, and the pool that they share.

        `vectors` are those of the queries; the labels `within`, if any, are in every pool.
        """
        asked = [number for number, parts in enumerate(texts) if parts]
        if self._scans:
            labels = np.arange(len(self._index.space))
            yield (
                asked,
                Pool(labels, self._index.vectors, self._bounds[:-1], self._index.kind_of, self._margins),
            )
            return
        near = self._index.nearest(vectors, self._settings.neighbors)
        for number in asked:
            rows = np.concatenate([rows for part in texts[number] for rows in part.rows.values()])
            proposed = [self._index.label_of[near[rows].ravel()]]
            proposed += [
                self._sharing_words(part.passage) for part in texts[number] if part.passage is not None
            ]
            if self._examples is not None:
                proposed.append(self._examples.labels)
            if within is not None:
                proposed.append(within)
            yield [number], self.pool(self._propagation.with_parents(np.unique(np.concatenate(proposed))))

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

    def pool(self, labels: Ints) -> Pool:
        """The pool of these labels alone."""
        counts = self._bounds[labels + 1] - self._bounds[labels]
        starts = np.cumsum(counts) - counts
        rows = np.repeat(self._bounds[labels] - starts, counts) + np.arange(counts.sum())
        margins = {kind: margin[rows] for kind, margin in self._margins.items()}
        return Pool(labels, self._index.vectors[rows], starts, self._index.kind_of[rows], margins)


@dataclass(frozen=True)
class _Passage:
    """A passage of a text, and its spans."""

    text: int  # the text's number
    query: Query
    spans: list[Query]

    @property
    def places(self) -> list[tuple[int, int]]:
        """The start and end of each span in the passage."""
        begin = self.query.start or 0
        return [((span.start or 0) - begin, (span.end or 0) - begin) for span in self.spans]


def select(
    texts: Sequence[Sequence[Query]], encoder: Encoder, pools: Pools, settings: RetrieveSettings
) -> tuple[list[Sequence[Query]], dict[str, Floats]]:
    """Leaves out the spans of long texts that are the least likely to match a label.

    A text keeps `spans_always` distinct spans, or `span_share` of them if these are more. Nothing is left out
    where the encoder gives no vectors of places.

    Returns:
        The queries of each text, and the unit vectors of passages encoded on the way, by their text.
    """
    selected, known = list(texts), dict[str, Floats]()
    passages: list[_Passage] = []
    for number, queries in enumerate(texts):
        if len({query.text for query in queries if query.kind is QueryKind.SPAN}) > settings.spans_always:
            passages += _passages(number, queries)
    # The best match of each span of each text.
    likely: dict[int, dict[str, float]] = {}
    for start in range(0, len(passages), _BLOCK):
        block = passages[start : start + _BLOCK]
        found = encode_places(encoder, [one.query.text for one in block], [one.places for one in block])
        if found is None:
            return selected, known
        known.update(zip((one.query.text for one in block), found.vectors, strict=True))
        matches = _matches(block, found.vectors, found.places, pools)
        for one, of_spans in zip(block, matches, strict=True):
            best = likely.setdefault(one.text, {})
            for span, match in zip(one.spans, of_spans.tolist(), strict=True):
                best[span.text] = max(match, best.get(span.text, match))
    for number, best in likely.items():
        count = max(settings.spans_always, round(settings.span_share * len(best)))
        names = list(best)
        left_out = set(names) - {names[at] for at in top(np.array([*best.values()], np.float32), count)}
        selected[number] = [
            query for query in texts[number] if query.kind is not QueryKind.SPAN or query.text not in left_out
        ]
    return selected, known


def best_match(vectors: Floats, pool: Pool) -> Floats:
    """The best match of each span with any entry, less the entry's margin, shape (spans,)."""
    best = np.empty(len(vectors), np.float32)
    size = max(1, BLOCK_FLOATS // len(pool.vectors))
    for start in range(0, len(vectors), size):
        similarity = vectors[start : start + size] @ pool.vectors.T
        similarity -= pool.margins[QueryKind.SPAN]
        best[start : start + size] = similarity.max(axis=1)
    return best


def _matches(
    passages: Sequence[_Passage], vectors: Floats, places: Sequence[Floats], pools: Pools
) -> Iterator[Floats]:
    """Yields the best matches of each passage's spans with the entries that the passage meets, in order."""
    parts = [parts_of([one.query], {one.query.text: row}) for row, one in enumerate(passages)]
    for numbers, pool in pools.of_texts(parts, vectors, None):
        best = best_match(np.concatenate([places[number] for number in numbers]), pool)
        yield from np.split(best, np.cumsum([len(places[number]) for number in numbers])[:-1])


def _passages(text: int, queries: Sequence[Query]) -> list[_Passage]:
    """The passages of a text, with the spans of each."""
    passages = {query.passage: _Passage(text, query, []) for query in queries if query.kind is QueryKind.TEXT}
    for query in queries:
        if query.kind is QueryKind.SPAN and query.passage in passages:
            passages[query.passage].spans.append(query)
    return list(passages.values())
