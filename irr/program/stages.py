"""The three stages in turn: a group of texts → infer → retrieve → rank → what each text is answered."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from irr.calibrate.calibration import Calibration
from irr.calibrate.features import features, profile
from irr.calibrate.selection import Cut
from irr.config import Settings
from irr.infer.spans import Inferer
from irr.labels.hierarchy import arrange
from irr.labels.space import LabelSpace
from irr.program.coalescing import Item
from irr.rank.base import Ranker
from irr.retrieve.base import Retriever
from irr.text.passages import excerpt
from irr.text.words import clean
from irr.types import Candidate, Costs, Inference, Prediction, Query, RankedLabel, Ranking, RowError, Trace


class Wanted(NamedTuple):
    """What a caller wants of each text: labels at most, by which cut, and whether with a trace."""

    top_k: int | None
    cut: Cut | None
    trace: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Stages:
    """Three stages over a label space.

    Attributes:
        space: The label space.
        settings: The settings of all stages.
        inferer: The first stage.
        retriever: The second stage.
        ranker: The third stage.
        part: Ids of the labels that texts may get; None for all.
        calibration: Gives labels their probabilities; None if it was not calibrated.
    """

    space: LabelSpace
    settings: Settings
    inferer: Inferer
    retriever: Retriever
    ranker: Ranker
    part: frozenset[str] | None = None
    calibration: Calibration | None = None
    # Encoders need not bear several threads, and gain nothing from them.
    _retrieving: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def _answer(self, texts: Sequence[Item], wanted: Wanted) -> list[Prediction]:
        """Answers a group of texts, in order; one that cannot be answered gets its error."""
        cleaned = [clean(text) if isinstance(text, str) else text for text in texts]
        problems = [self._problem(text) for text in cleaned]
        usable = [
            text
            for text, problem in zip(cleaned, problems, strict=True)
            if problem is None and isinstance(text, str)
        ]
        inferences = self.inferer.infer(usable)
        depth = max(wanted.top_k or 1, self.settings.retrieve.candidates)
        found = self._retrieve([i.queries for i in inferences], depth, wanted.trace)
        rankings = self.ranker.rank([*map(self.shown, usable, found)], found)
        answers = (
            self._prediction(wanted, *stages) for stages in zip(inferences, found, rankings, strict=True)
        )
        return [Prediction(error=problem) if problem else next(answers) for problem in problems]

    def _retrieve(
        self, queries: Sequence[Sequence[Query]], depth: int, trace: bool = False
    ) -> Sequence[Sequence[Candidate]]:
        """The candidates of each text, so many, for its queries; threads take turns."""
        with self._retrieving:
            return self.retriever.retrieve(queries, depth, trace)

    def shown(self, text: str, candidates: Sequence[Candidate]) -> str:
        """What of a text the ranker reads: all of a short one, of a long one what speaks for candidates."""
        places = (candidate.place for candidate in candidates if candidate.place)
        return excerpt(text, places, self.settings.rank.characters)

    def _prediction(
        self, wanted: Wanted, inference: Inference, candidates: Sequence[Candidate], ranking: Ranking
    ) -> Prediction:
        fallbacks = tuple(f for f in (inference.fallback, ranking.fallback) if f is not None)
        labels, scope = ranking.labels, None
        # What was ranked in another way than the texts with gold has no probabilities.
        if self.calibration and not fallbacks:
            labels = _with_probabilities(self.calibration, labels, candidates)
            scope = round(self.calibration.scope.p_value(profile(candidates)), 6)
        chosen = labels if wanted.cut is None else _kept(wanted.cut, labels, scope)
        top_k = len(chosen) if wanted.top_k is None else wanted.top_k
        arranged = arrange(self.space, self.settings.hierarchy, top_k, chosen)
        returned = tuple(label for label in arranged if self.part is None or label.id in self.part)
        return Prediction(
            labels=returned,
            abstained=self.calibration is not None and not returned,
            scope=scope,
            fallbacks=fallbacks,
            costs=Costs(infer=inference.usage, rank=ranking.usage),
            trace=Trace(queries=inference.queries, candidates=tuple(candidates), ranking=labels)
            if wanted.trace
            else None,
        )

    def _problem(self, text: Item) -> RowError | None:
        if isinstance(text, RowError):
            return text
        if not text:
            return RowError(code="empty_text", message="the text holds nothing to read")
        limit = self.settings.max_characters
        if len(text) > limit:
            message = f"{len(text):,} characters, at most {limit:,} are read: split the text"
            return RowError(code="text_too_long", message=message)
        return None


def _with_probabilities(
    calibration: Calibration, labels: Sequence[RankedLabel], candidates: Sequence[Candidate]
) -> tuple[RankedLabel, ...]:
    probabilities = calibration.curve.probabilities(features(labels, candidates))
    return tuple(
        RankedLabel(id=label.id, name=label.name, score=label.score, probability=probability)
        for label, probability in zip(labels, probabilities.round(6).tolist(), strict=True)
    )


def _kept(cut: Cut, labels: Sequence[RankedLabel], scope: float | None) -> tuple[RankedLabel, ...]:
    if scope is None:
        return ()
    kept = cut.keeps(np.array([label.probability for label in labels], float), scope)
    return tuple(label for label, keep in zip(labels, kept, strict=True) if keep)
