"""Rank: a text's candidates in their final order; without a language model, by retrieval score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from irr.types import Candidate, RankedLabel


class Ranker(Protocol):
    """Orders candidates. Returns exactly the candidates it was given, best first, each with a score."""

    def rank(
        self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]
    ) -> list[list[RankedLabel]]:
        """Ranks the candidates of each text."""
        ...


class RetrievalRanker:
    """Keeps the order and the scores of retrieval."""

    def rank(
        self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]
    ) -> list[list[RankedLabel]]:
        """Returns each text's candidates as retrieval ordered them."""
        return [
            [RankedLabel(id=c.label.id, name=c.label.name, score=c.score) for c in group]
            for group in candidates
        ]
