"""The interfaces of a ranker and of a language model's evidence, and the ranker by retrieval score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from irr.prompts.pack import Demo
from irr.types import Candidate, RankedLabel, Ranking


class Ranker(Protocol):
    """Orders candidates: returns those that it was given, best first, each with a score."""

    def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
        """Ranks the candidates of each text."""
        ...


class LMEvidence(Protocol):
    """A language model's evidence for each candidate of a text; more is better."""

    async def weigh(
        self, text: str, candidates: Sequence[Candidate], demos: Sequence[Demo] | None = None
    ) -> list[float]:
        """Returns one number for each candidate; `demos` are shown in place of the task's.

        Raises:
            LMError: If the model gives no usable answer.
        """
        ...


class RetrievalRanker:
    """Keeps the order and the scores of retrieval."""

    def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
        """Returns each text's candidates as retrieval ordered them."""
        return [by_score(group, [candidate.score for candidate in group]) for group in candidates]


def by_score(candidates: Sequence[Candidate], scores: Sequence[float]) -> Ranking:
    """The candidates ordered by these scores, best first; ties keep their order."""
    order = sorted(range(len(candidates)), key=lambda i: -scores[i])
    return Ranking(
        labels=tuple(
            RankedLabel(id=candidates[i].label.id, name=candidates[i].label.name, score=round(scores[i], 6))
            for i in order
        )
    )
