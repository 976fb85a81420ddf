"""The three stages, composed over an index and run in turn: a group of texts → predictions."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from irr.calibrate.calibration import Calibration, label_features, text_profile
from irr.calibrate.decision import Thresholds
from irr.config import RankMethod, Settings
from irr.encoders.base import LockedEncoder
from irr.errors import UsageError
from irr.index.examples import ExampleIndex
from irr.index.store import LabelIndex
from irr.infer.lm_inferer import LMInferer
from irr.infer.spans import Inferer, SpanInferer
from irr.labels.hierarchy import arrange
from irr.labels.space import LabelSpace
from irr.lm.protocol import LanguageModel
from irr.program.spec import Models, ProgramSpec
from irr.prompts.pack import ChooseDemos, load_task
from irr.rank.ranker import LMRanker, Ranker, RetrievalRanker, evidence_by
from irr.retrieve.retriever import LabelRetriever
from irr.text.words import clean, excerpt
from irr.types import (
    Candidate,
    Costs,
    Inference,
    Prediction,
    Query,
    RankedLabel,
    Ranking,
    RowError,
    TextOrError,
    Trace,
)

# Texts that go through the stages together: many suit the encoder; few suit a language model, because a
# group waits for its slowest text.
_GROUP_TEXTS = 64
_LM_GROUP_TEXTS = 8


class AnswerOptions(NamedTuple):
    """The options of an answer: labels at most, the thresholds of a decision, whether with a trace."""

    top_k: int | None
    thresholds: Thresholds | None
    trace: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Stages:
    """Three stages over a label space.

    Attributes:
        part: Ids of the labels that texts may get; None for all.
        calibration: Gives labels their probabilities; None if it was not calibrated.
        group_texts: How many texts go through the stages together.
        workers: Groups under way at a time; more than one pays when a stage waits for a server.
    """

    space: LabelSpace
    settings: Settings
    inferer: Inferer
    retriever: LabelRetriever
    ranker: Ranker
    part: frozenset[str] | None = None
    calibration: Calibration | None = None
    group_texts: int = _GROUP_TEXTS
    workers: int = 1
    # Encoders may not be thread-safe; retrieval is serialized.
    _retrieving: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @classmethod
    def compose(cls, spec: ProgramSpec, models: Models, index: LabelIndex) -> Stages:
        """Composes the stages that a specification asks for over an index of its encoder and fields."""
        settings, lms = spec.settings, models.language_models
        encoder = LockedEncoder(models.encoder) if lms else models.encoder
        spans = SpanInferer(settings.infer)
        neighbours = None
        if examples := spec.examples:
            encode = partial(spans.encode, encoder=encoder)
            neighbours = ExampleIndex(examples, index.space, encode, spec.leave_one_out)

        def chooser(count: int) -> ChooseDemos | None:
            return partial(neighbours.demos, count=count) if neighbours and count else None

        task = spec.task or load_task("default")
        inferer: Inferer = spans
        if models.infer_lm:
            choose = chooser(settings.infer.near_demos)
            inferer = LMInferer(spans, models.infer_lm, task, settings.infer.demos, choose)
        ranker = models.ranker or RetrievalRanker()
        if models.rank_lm:
            method = rank_method(models.rank_lm, settings)
            evidence = evidence_by(method, models.rank_lm, task, settings.rank)
            weight = settings.rank.method_weight(method)
            ranker = LMRanker(evidence, weight, settings, chooser(settings.rank.near_demos))
        # Twice the concurrency of a model, because one half is retrieved while the other half is asked about.
        under_way = 2 * max((model.concurrency for model in lms), default=0)
        return cls(
            space=index.space,
            settings=settings,
            inferer=inferer,
            retriever=LabelRetriever(index, encoder, settings.retrieve, neighbours, spec.combination),
            ranker=ranker,
            group_texts=_LM_GROUP_TEXTS if lms else _GROUP_TEXTS,
            workers=max(1, under_way // _LM_GROUP_TEXTS),
        )

    def answer(self, texts: Sequence[TextOrError], options: AnswerOptions) -> list[Prediction]:
        """Answers a group of texts, in order; one that cannot be answered gets its error."""
        cleaned = [clean(text) if isinstance(text, str) else text for text in texts]
        problems = [self._problem(text) for text in cleaned]
        pairs = zip(cleaned, problems, strict=True)
        usable = [text for text, problem in pairs if not problem and isinstance(text, str)]
        inferences = self.inferer.infer(usable)
        depth = max(options.top_k or 1, self.settings.retrieve.candidates)
        found = self.retrieve([inference.queries for inference in inferences], depth, options.trace)
        rankings = self.ranker.rank([*map(self.rank_text, usable, found)], found)
        answers = (
            self._prediction(options, *stages) for stages in zip(inferences, found, rankings, strict=True)
        )
        return [Prediction(error=problem) if problem else next(answers) for problem in problems]

    def retrieve(
        self, queries: Sequence[Sequence[Query]], depth: int, trace: bool = False
    ) -> Sequence[Sequence[Candidate]]:
        """The candidates of each text for its queries; threads take turns."""
        with self._retrieving:
            return self.retriever.retrieve(queries, depth, trace)

    def rank_text(self, text: str, candidates: Sequence[Candidate]) -> str:
        """The part of a text that the ranker reads: all of a short one, the best places of a long one."""
        places = (candidate.place for candidate in candidates if candidate.place)
        return excerpt(text, places, self.settings.rank.characters)

    def _prediction(
        self, options: AnswerOptions, inference: Inference, candidates: Sequence[Candidate], ranking: Ranking
    ) -> Prediction:
        fallbacks = tuple(f for f in (inference.fallback, ranking.fallback) if f is not None)
        labels, scope = ranking.labels, None
        # A text that was ranked in another way than the texts with gold has no probabilities.
        if self.calibration and not fallbacks:
            probabilities = self.calibration.curve.probabilities(label_features(labels, candidates))
            labels = tuple(
                label.model_copy(update={"probability": probability})
                for label, probability in zip(labels, probabilities.round(6).tolist(), strict=True)
            )
            scope = round(self.calibration.scope.p_value(text_profile(candidates)), 6)
        chosen = labels if options.thresholds is None else _selected(options.thresholds, labels, scope)
        top_k = len(chosen) if options.top_k is None else options.top_k
        arranged = arrange(self.space, self.settings.hierarchy, top_k, chosen)
        returned = tuple(label for label in arranged if self.part is None or label.id in self.part)
        return Prediction(
            labels=returned,
            abstained=self.calibration is not None and not returned,
            scope=scope,
            fallbacks=fallbacks,
            costs=Costs(infer=inference.usage, rank=ranking.usage),
            trace=Trace(queries=inference.queries, candidates=tuple(candidates), ranking=labels)
            if options.trace
            else None,
        )

    def _problem(self, text: TextOrError) -> RowError | None:
        if isinstance(text, RowError):
            return text
        if not text:
            return RowError(code="empty_text", message="the text holds nothing to read")
        limit = self.settings.max_characters
        if len(text) > limit:
            message = f"{len(text):,} characters, at most {limit:,} are read: split the text"
            return RowError(code="text_too_long", message=message)
        return None


def rank_method(model: LanguageModel, settings: Settings) -> RankMethod:
    """The rank method of a model, which must have it; `auto` is listwise."""
    method = settings.rank.method
    if method is RankMethod.AUTO:
        return RankMethod.LISTWISE
    if method is RankMethod.POINTWISE and not model.capabilities.scores:
        raise UsageError(f'the model "{model.name}" gives no probabilities', "rank listwise")
    return method


def _selected(
    thresholds: Thresholds, labels: Sequence[RankedLabel], scope: float | None
) -> tuple[RankedLabel, ...]:
    if scope is None:
        return ()
    selected = thresholds.select(np.array([label.probability for label in labels], float), scope)
    return tuple(label for label, keep in zip(labels, selected, strict=True) if keep)
