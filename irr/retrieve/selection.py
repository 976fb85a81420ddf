"""Selection: of a long text, the spans that are encoded, those likeliest to match a label.

Each passage is encoded anyway, and the states of its tokens give each of its spans a vector in context. A
span is as likely as the best match of that vector, in any passage, with any entry of a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from irr.config import RetrieveSettings
from irr.encoders.base import Encoder, encode_places
from irr.retrieve.parts import parts_of
from irr.retrieve.pool import Pools
from irr.retrieve.scoring import BLOCK_FLOATS, Entries, Floats, top
from irr.types import Query, QueryKind

# Passages whose spans have vectors at a time: some 70 spans each, 30 MB.
_BLOCK = 256


class Selected(NamedTuple):
    """What is left of the queries of texts.

    Attributes:
        queries: The queries of each text.
        known: Unit vectors of passages that were encoded on the way, by their text, shape (dimensions,) each.
    """

    queries: list[Sequence[Query]]
    known: dict[str, Floats]


class _Passage(NamedTuple):
    query: Query
    spans: list[Query]

    @property
    def places(self) -> list[tuple[int, int]]:
        """The start and end of each span in the passage."""
        begin = self.query.start or 0
        return [((span.start or 0) - begin, (span.end or 0) - begin) for span in self.spans]


def select(
    texts: Sequence[Sequence[Query]], encoder: Encoder, pools: Pools, settings: RetrieveSettings
) -> Selected:
    """Leaves out the spans of long texts that are the least likely to match a label.

    A text keeps `spans_always` distinct spans, or `span_share` of them if these are more. Nothing is left out
    where the encoder gives no vectors of places.

    Args:
        texts: The queries of each text.
        encoder: Encodes passages.
        pools: Finds the entries that passages and spans meet.
        settings: Those of retrieval.
    """
    selected = Selected(list(texts), {})
    passages: list[_Passage] = []
    owners: list[int] = []
    for number, queries in enumerate(texts):
        if len({query.text for query in queries if query.kind is QueryKind.SPAN}) > settings.spans_always:
            of_text = _passages(queries)
            passages += of_text
            owners += [number] * len(of_text)
    # The best match of each span of each text.
    likely: dict[int, dict[str, float]] = {}
    for start in range(0, len(passages), _BLOCK):
        block = passages[start : start + _BLOCK]
        found = encode_places(encoder, [one.query.text for one in block], [one.places for one in block])
        if found is None:
            return selected
        selected.known.update(zip((one.query.text for one in block), found.vectors, strict=True))
        matches = _matches(block, found.vectors, found.places, pools)
        for number, one, of_spans in zip(owners[start : start + _BLOCK], block, matches, strict=True):
            best = likely.setdefault(number, {})
            for span, match in zip(one.spans, of_spans.tolist(), strict=True):
                best[span.text] = max(match, best.get(span.text, match))
    for number, best in likely.items():
        count = max(settings.spans_always, round(settings.span_share * len(best)))
        names = list(best)
        kept = {names[at] for at in top(np.array([*best.values()], np.float32), count)}
        selected.queries[number] = [
            query
            for query in texts[number]
            if query.kind is not QueryKind.SPAN or query.text in kept or query.text not in best
        ]
    return selected


def best_match(vectors: Floats, entries: Entries) -> Floats:
    """The best match of each span with any entry, less the entry's margin, shape (spans,).

    Args:
        vectors: Unit vectors of spans, shape (spans, dimensions).
        entries: What they meet.
    """
    best = np.empty(len(vectors), np.float32)
    size = max(1, BLOCK_FLOATS // len(entries.vectors))
    for start in range(0, len(vectors), size):
        similarity = vectors[start : start + size] @ entries.vectors.T
        similarity -= entries.margins[QueryKind.SPAN]
        best[start : start + size] = similarity.max(axis=1)
    return best


def _matches(
    passages: Sequence[_Passage], vectors: Floats, places: Sequence[Floats], pools: Pools
) -> list[Floats]:
    """The best match of each span of each passage with the entries that its passage meets."""
    matches: list[Floats] = [np.zeros(0, np.float32)] * len(passages)
    parts = [parts_of([one.query], {one.query.text: row}) for row, one in enumerate(passages)]
    for numbers, pool in pools.of_texts(parts, vectors, None):
        best = best_match(np.concatenate([places[number] for number in numbers]), pool.entries)
        ends = np.cumsum([len(places[number]) for number in numbers])[:-1]
        for number, of_passage in zip(numbers, np.split(best, ends), strict=True):
            matches[number] = of_passage
    return matches


def _passages(queries: Sequence[Query]) -> list[_Passage]:
    """The passages of a text, with the spans of each."""
    passages = {query.passage: _Passage(query, []) for query in queries if query.kind is QueryKind.TEXT}
    for query in queries:
        if query.kind is QueryKind.SPAN and query.passage in passages:
            passages[query.passage].spans.append(query)
    return list(passages.values())
