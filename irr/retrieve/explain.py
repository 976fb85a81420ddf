"""Explanation: which query met which entry of a label, and how well."""

from __future__ import annotations

import numpy as np

from irr.index.store import LabelIndex
from irr.retrieve.parts import ScoredText
from irr.retrieve.scoring import Entries
from irr.types import Match


def matches_of(
    label: int, part: int, text: ScoredText, entries: Entries, index: LabelIndex
) -> tuple[Match, ...]:
    """The best match of a label with each kind of query in one part of a text, and with its terms.

    Args:
        label: The label's number.
        part: The part's number.
        text: The text.
        entries: The entries of this label alone.
        index: Knows the texts of entries.
    """
    first = int(np.searchsorted(index.label_of, label))
    terms = [number for number, other in enumerate(text.parts) if other.passage is None and number != part]
    found = []
    for number in (part, *terms):
        for kind, segment in text.parts[number].segments.items():
            scores = text.vectors[segment.rows] @ entries.vectors.T - entries.margins[kind]
            scores -= text.penalties[number][kind][:, None]
            best, entry = np.unravel_index(scores.argmax(), scores.shape)
            query = text.parts[number].queries[kind][int(best)]
            found.append(
                Match(
                    kind=kind,
                    query=query.text,
                    entry=index.entry_text(first + int(entry)),
                    score=round(float(scores[best, entry]), 6),
                    start=query.start,
                    end=query.end,
                )
            )
    return tuple(found)
