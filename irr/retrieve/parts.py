"""The parts of a text that retrieval scores one by one: its passages with their spans, and its terms."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from irr.retrieve.scoring import Floats, Segment
from irr.types import Query, QueryKind


@dataclass(frozen=True)
class Part:
    """A passage and its spans, or the terms proposed for the whole text.

    Attributes:
        passage: The passage's text; None for terms.
        place: Where it stands in the text.
        queries: Its queries by kind.
        segments: The rows of their vectors, by kind.
    """

    passage: str | None
    place: tuple[int, int] | None
    queries: Mapping[QueryKind, Sequence[Query]]
    segments: Mapping[QueryKind, Segment]


@dataclass(frozen=True)
class ScoredText:
    """A text that was scored.

    Attributes:
        parts: Its parts.
        penalties: The hubness penalties of each part's queries, by kind.
        vectors: Unit vectors of queries, shape (rows, dimensions).
    """

    parts: Sequence[Part]
    penalties: Sequence[Mapping[QueryKind, Floats]]
    vectors: Floats


def parts_of(queries: Sequence[Query], row_of: Mapping[str, int]) -> list[Part]:
    """A text's passages in order, then its terms."""
    groups: dict[int, dict[QueryKind, list[Query]]] = {}
    for query in queries:
        number = sys.maxsize if query.kind is QueryKind.TERM else query.passage
        groups.setdefault(number, {}).setdefault(query.kind, []).append(query)
    parts: list[Part] = []
    for number, by_kind in sorted(groups.items()):
        texts = by_kind.get(QueryKind.TEXT, [])
        start, end = (texts[0].start, texts[-1].end) if texts else (None, None)
        parts.append(
            Part(
                passage=None if number == sys.maxsize else "\n".join(query.text for query in texts),
                place=(start, end) if start is not None and end is not None else None,
                queries=by_kind,
                segments={
                    kind: Segment(kind, np.array([row_of[query.text] for query in group]))
                    for kind, group in by_kind.items()
                },
            )
        )
    return parts


def blocks(texts: Sequence[Sequence[Part]], segments: int) -> Iterator[list[tuple[int, int]]]:
    """The numbers of text and part, in order, in blocks of so many segments at most, or of one part."""
    block: list[tuple[int, int]] = []
    room = segments
    for text, parts in enumerate(texts):
        for number, part in enumerate(parts):
            if block and len(part.segments) > room:
                yield block
                block, room = [], segments
            block.append((text, number))
            room -= len(part.segments)
    if block:
        yield block
