"""The parts of a text that retrieval scores one by one, and their queries in blocks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irr.types import Query, QueryKind

Ints = NDArray[np.int64]
# The rows of the query vectors of a part, by kind of query.
Kinds = Mapping[QueryKind, Ints]


@dataclass(frozen=True)
class Part:
    """A passage and its spans, or the terms proposed for the whole text.

    Attributes:
        passage: The passage's text; None for terms.
        place: Where it stands in the text.
        queries: Its queries by kind.
        rows: The rows of their vectors.
    """

    passage: str | None
    place: tuple[int, int] | None
    queries: Mapping[QueryKind, Sequence[Query]]
    rows: Kinds


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
                rows={kind: np.array([row_of[q.text] for q in group]) for kind, group in by_kind.items()},
            )
        )
    return parts


def blocks(texts: Sequence[Kinds], size: int) -> Iterator[list[tuple[int, QueryKind, Ints]]]:
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
