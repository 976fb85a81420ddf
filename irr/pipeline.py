"""A program: texts → infer → retrieve → rank → labels, one text at a time or streams of them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from irr.calibrate.calibration import Calibration
from irr.calibrate.features import features, profile
from irr.calibrate.selection import BEST, Cut, Decision
from irr.coalescing import Coalescer, Item, Way
from irr.config import Settings
from irr.encoders.base import Encoder
from irr.errors import ProgramError, UsageError
from irr.infer.spans import Inferer
from irr.io.frames import texts as texts_of
from irr.labels.hierarchy import arrange
from irr.labels.part import part_of
from irr.labels.space import LabelSpace
from irr.lm.base import LanguageModel
from irr.lm.loop import Requests
from irr.prompts.pack import TaskPack
from irr.rank.base import Ranker
from irr.recipe import Recipe, model_of
from irr.retrieve.base import Retriever
from irr.retrieve.combination import PLAIN, Combination
from irr.text.passages import excerpt
from irr.text.words import clean
from irr.types import (
    Candidate,
    Costs,
    Example,
    Inference,
    Prediction,
    Query,
    QueryKind,
    RankedLabel,
    Ranking,
    RowError,
    Trace,
)

# A group of texts ends here: enough to fill the encoder's batches, few enough to stream.
_GROUP_CHARACTERS = 30_000
_TOP_K = 10


class _Wanted(NamedTuple):
    """What a caller wants of each text: labels at most, by which cut, and whether with a trace."""

    top_k: int | None
    cut: Cut | None
    trace: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class InferRetrieveRank:
    """A program: call it with one text, or stream many through `batch`. It is immutable.

    Threads and asyncio tasks may call it at the same time: their texts are answered together, as in a batch.
    It can stand in a `with` block, whose end waits for what is under way.

    Attributes:
        space: The label space.
        encoder: Encodes queries and labels.
        settings: The settings of all stages.
        inferer: The first stage.
        retriever: The second stage.
        ranker: The third stage.
        infer_lm: The language model of the first stage, if it has one.
        rank_lm: The language model of the third stage, if it has one.
        task: The task pack of the language models; None without them.
        combination: The weights of the features that retrieval computes.
        examples: Labelled texts that count as evidence for their labels.
        leave_one_out: Whether an example counts for other texts only.
        part: Ids of the labels that texts may get; None for all.
        calibration: Gives labels their probabilities; None if it was not calibrated.
        custom: A part that the caller brought and that no name stands for; "" if there is none.
        group_texts: How many texts go through the stages together.
        workers: Groups that are under way at a time; more than one pays when a stage waits for a server.
        coalescer: Groups the texts of concurrent callers; programs that are made of this one share it.
    """

    space: LabelSpace
    encoder: Encoder
    settings: Settings
    inferer: Inferer
    retriever: Retriever
    ranker: Ranker
    infer_lm: LanguageModel | None = None
    rank_lm: LanguageModel | None = None
    task: TaskPack | None = None
    combination: Combination = PLAIN
    examples: tuple[Example, ...] = ()
    leave_one_out: bool = False
    part: frozenset[str] | None = None
    calibration: Calibration | None = None
    custom: str = ""
    group_texts: int = 64
    workers: int = 1
    coalescer: Coalescer = field(default_factory=Coalescer, repr=False)
    _process: int = field(default_factory=os.getpid, init=False, repr=False)
    # Encoders need not bear several threads, and gain nothing from them.
    _retrieving: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.calibration and self.calibration.program != self.ranking_digest:
            hint = "calibrate this one: irr calibrate --program DIR --gold FILE"
            raise ProgramError("the calibration was fitted for another program", hint)

    @cached_property
    def recipe(self) -> Recipe:
        """Everything besides the label space that its answers depend on."""
        stages = (self.inferer, self.retriever, self.ranker)
        return Recipe(
            encoder=model_of(self.encoder),
            infer=model_of(self.infer_lm) if self.infer_lm else None,
            rank=model_of(self.rank_lm) if self.rank_lm else None,
            settings=self.settings,
            combination=self.combination,
            stages=tuple(type(stage).__qualname__ for stage in stages),
            custom=self.custom,
            task=self.task,
            examples=self.examples,
            leave_one_out=self.leave_one_out,
        )

    @property
    def digest(self) -> str:
        """SHA-256 over all that its answers depend on: two programs of one digest answer alike."""
        if self.calibration is None:
            return self._rankings(self.recipe)
        parts = f"{self._rankings(self.recipe)}\n{self.calibration.model_dump_json()}"
        return hashlib.sha256(parts.encode()).hexdigest()

    @property
    def ranking_digest(self) -> str:
        """SHA-256 over all that its rankings depend on: what a calibration is fitted for."""
        return self._rankings(self.recipe.model_copy(update={"leave_one_out": False}))

    def _rankings(self, recipe: Recipe) -> str:
        part = "" if self.part is None else "\n".join(["", *sorted(self.part)])
        return recipe.digest(self.space.fingerprint + part)

    def within(
        self,
        branch: str | Sequence[str] = (),
        *,
        only: Iterable[str] | None = None,
        without: Iterable[str] = (),
    ) -> InferRetrieveRank:
        """The program on a part of its label space; nothing is encoded or read again.

        Every text gets `top_k` labels of the part, with the retrieval scores that they have among all labels.

        Args:
            branch: The id of a label, or ids: the part lies below them, and they are in it.
            only: Ids of the labels that the part consists of.
            without: Ids of labels that are not in it.

        Raises:
            UsageError: If an id is no label's, or no label is left.
        """
        numbers = part_of(self.space, branch, only, without)
        part = frozenset(self.space[int(number)].id for number in numbers)
        if self.part is not None:
            part &= self.part
            numbers = part_of(self.space, only=part)
        retriever = self.retriever.within(numbers)
        # What was learned of rankings of all labels does not hold for those of a part.
        return replace(self, retriever=retriever, part=part, calibration=None)

    def __call__(
        self, text: str | None, top_k: int | None = None, trace: bool = False, decision: Decision = BEST
    ) -> Prediction:
        """Puts one text into the label space.

        Args:
            text: Any text; None is a missing one.
            top_k: How many labels to return, at most; if None, ten, or as many as the decision returns.
            trace: Whether the prediction carries every stage's output.
            decision: Which labels to return, if not the best of every text; needs a calibrated program.

        Returns:
            The prediction; a text that cannot be answered has its `error` set.
        """
        way = self._way(self._wanted(top_k, trace, decision))
        return self.coalescer.answer(way, next(texts_of([text])))

    async def aclassify(
        self, text: str | None, top_k: int | None = None, trace: bool = False, decision: Decision = BEST
    ) -> Prediction:
        """Puts one text into the label space, from a coroutine; the event loop goes on meanwhile.

        Takes, returns and raises what a call does. Cancelling it disturbs no other text.
        """
        way = self._way(self._wanted(top_k, trace, decision))
        return await asyncio.wrap_future(self.coalescer.submit(way, next(texts_of([text]))))

    def warm_up(self) -> None:
        """Retrieves once, so that the first text takes no longer than others; asks no language model."""
        self._wanted(None, False, BEST)
        queries = [Query(text=self.space[0].name, kind=kind) for kind in (QueryKind.TEXT, QueryKind.SPAN)]
        with self._retrieving:
            self.retriever.retrieve([queries], _TOP_K)

    def close(self) -> None:
        """Waits until the texts of concurrent callers are answered; no thread for them is left then."""
        self.coalescer.close()

    def __enter__(self) -> InferRetrieveRank:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def batch(
        self,
        texts: Iterable[str | None] | Any,
        top_k: int | None = None,
        trace: bool = False,
        decision: Decision = BEST,
    ) -> Iterator[Prediction]:
        """Yields one prediction for each text, in order, while the texts are still being read.

        Args:
            texts: The texts, a series of them, or a data frame with a column `text`. What is missing or no
                text has an error in its prediction.
            top_k: How many labels to return of each, at most; if None, ten, or as many as the decision
                returns.
            trace: Whether predictions carry every stage's output.
            decision: Which labels to return, if not the best of every text; needs a calibrated program.

        Raises:
            UsageError: At the call, if `texts` is one text or a data frame without texts, no label is asked
                for, the program is not calibrated or cannot keep a promise, or the process was forked from
                the one that built it.
        """
        if isinstance(texts, str | bytes | Mapping):
            raise UsageError("batch takes many texts", "call the program with one")
        return self._batch(texts_of(texts), self._wanted(top_k, trace, decision))

    def _wanted(self, top_k: int | None, trace: bool, decision: Decision) -> _Wanted:
        if os.getpid() != self._process:  # a fork has none of the threads of encoder, index and models
            hint = 'load it in each process, or start processes by "spawn"'
            raise UsageError("this program was built before the process was forked", hint)
        if top_k is not None and top_k < 1:
            raise UsageError(f"top_k is {top_k}", "ask for at least one label")
        if top_k is not None and decision.recall:
            raise UsageError("at most so many labels a text break a promise of recall", "leave top_k out")
        if top_k is None and not decision.cuts:
            top_k = _TOP_K
        return _Wanted(top_k, self._cut(decision), trace)

    def _way(self, wanted: _Wanted) -> Way:
        """How a text of a concurrent caller is answered: with others of this program that want the same."""
        return Way(
            key=(self, wanted),
            run=lambda group: self._group(group, wanted),
            texts=self.group_texts,
            characters=_GROUP_CHARACTERS,
            workers=self.workers,
        )

    def _cut(self, decision: Decision) -> Cut | None:
        if self.calibration:
            return self.calibration.cut(decision) if decision.calibrated else None
        if decision.calibrated:
            hint = "run irr calibrate --program DIR --gold FILE first"
            raise UsageError("the program is not calibrated, so that it knows no probabilities", hint)
        return None

    def _batch(self, texts: Iterable[Item], wanted: _Wanted) -> Iterator[Prediction]:
        groups = _groups(texts, self.group_texts)
        if self.workers == 1:
            for group in groups:
                yield from self._group(group, wanted)
            return
        # Some groups are under way at once, so that a model that is waited for always has work.
        under_way: deque[Future[list[Prediction]]] = deque()
        requests = Requests()
        pool = ThreadPoolExecutor(self.workers, "irr-group")
        try:
            for group in groups:
                under_way.append(pool.submit(self._tracked, requests, group, wanted))
                if len(under_way) > self.workers:
                    yield from under_way.popleft().result()
            while under_way:
                yield from under_way.popleft().result()
        finally:
            # Whoever leaves early is not made to wait, or to pay, for answers that nobody reads.
            requests.cancel()
            pool.shutdown(cancel_futures=True)

    def _tracked(self, requests: Requests, texts: Sequence[Item], wanted: _Wanted) -> list[Prediction]:
        with requests.made_here():
            return self._group(texts, wanted)

    def _group(self, texts: Sequence[Item], wanted: _Wanted) -> list[Prediction]:
        cleaned = [clean(text) if isinstance(text, str) else text for text in texts]
        problems = [self._problem(text) for text in cleaned]
        usable = [
            text
            for text, problem in zip(cleaned, problems, strict=True)
            if problem is None and isinstance(text, str)
        ]
        inferences = self.inferer.infer(usable)
        depth = max(wanted.top_k or 1, self.settings.retrieve.candidates)
        with self._retrieving:
            found = self.retriever.retrieve([i.queries for i in inferences], depth, wanted.trace)
        rankings = self.ranker.rank([*map(self.shown, usable, found)], found)
        answers = (
            self._prediction(wanted, *stages) for stages in zip(inferences, found, rankings, strict=True)
        )
        return [Prediction(error=problem) if problem else next(answers) for problem in problems]

    def _prediction(
        self, wanted: _Wanted, inference: Inference, candidates: Sequence[Candidate], ranking: Ranking
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

    def shown(self, text: str, candidates: Sequence[Candidate]) -> str:
        """What of a text the ranker reads: all of a short one, of a long one what speaks for candidates."""
        places = (candidate.place for candidate in candidates if candidate.place)
        return excerpt(text, places, self.settings.rank.characters)

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


def _groups(texts: Iterable[Item], size: int) -> Iterator[list[Item]]:
    group: list[Item] = []
    characters = 0
    for text in texts:
        group.append(text)
        characters += len(text) if isinstance(text, str) else 0
        if len(group) >= size or characters >= _GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group
