"""Rank by a language model: its evidence for each candidate, fused with the retrieval score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from irr.errors import LMError, LMUnavailableError
from irr.lm.loop import gather, run_on_loop
from irr.lm.protocol import metered
from irr.prompts.pack import ChooseDemos, Demo
from irr.rank.ranker import LMEvidence, by_score
from irr.types import Candidate, Fallback, Ranking


@dataclass(frozen=True)
class Depth:
    """The number of candidates that a model sees.

    Attributes:
        max_candidates: The most of them.
        min_candidates: Seen even if far below the best.
        gap: The largest distance of a retrieval score to the best; 0 for no limit.
    """

    max_candidates: int
    min_candidates: int = 0
    gap: float = 0.0

    def count(self, scores: Sequence[float]) -> int:
        """The number of candidates with these scores, best first, that the model sees."""
        if not self.gap:
            return self.max_candidates
        near = sum(score >= scores[0] - self.gap for score in scores)
        return min(self.max_candidates, max(self.min_candidates, near))


class LMRanker:
    """Orders candidates by retrieval score + weight · evidence.

    Args:
        evidence: The model's evidence for each candidate.
        weight: The weight of the evidence.
        depth: Which candidates the model reads; the others follow in retrieval order.
        choose: Chooses demos for each text in place of the task's.
    """

    def __init__(
        self, evidence: LMEvidence, weight: float, depth: Depth, choose: ChooseDemos | None = None
    ) -> None:
        self._evidence = evidence
        self._weight = weight
        self._depth = depth
        self._choose = choose

    def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
        """Ranks each text's candidates, with a fallback to retrieval order where the model failed.

        Raises:
            LMUnavailableError: If the model is unavailable.
        """
        demos = self._choose(texts) if self._choose else [None] * len(texts)
        return run_on_loop(self._rank(texts, candidates, demos))

    async def _rank(
        self,
        texts: Sequence[str],
        candidates: Sequence[Sequence[Candidate]],
        demos: Sequence[Sequence[Demo] | None],
    ) -> list[Ranking]:
        return await gather(*map(self._rank_text, texts, candidates, demos))

    async def _rank_text(
        self, text: str, candidates: Sequence[Candidate], demos: Sequence[Demo] | None
    ) -> Ranking:
        retrieval = [candidate.score for candidate in candidates]
        if not candidates:
            return by_score(candidates, retrieval)
        with metered() as meter:
            try:
                evidence = await self._evidence.weigh(text, candidates[: self._depth.count(retrieval)], demos)
            except LMUnavailableError:
                raise
            except LMError as e:
                fallback = Fallback(stage="rank", code=e.code, message=e.message)
                ranking = by_score(candidates, retrieval)
                return ranking.model_copy(update={"usage": meter.usage, "fallback": fallback})
        fused = fuse(retrieval, evidence, self._weight)
        return by_score(candidates, fused).model_copy(update={"usage": meter.usage})


def fuse(retrieval: Sequence[float], evidence: Sequence[float], weight: float) -> list[float]:
    """Retrieval scores with the weighted evidence for the first of them.

    A candidate that the model did not read gets the lowest evidence.
    """
    weights = [*evidence, *[min(evidence)] * (len(retrieval) - len(evidence))]
    return [score + weight * w for score, w in zip(retrieval, weights, strict=True)]
