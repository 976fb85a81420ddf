"""A program: texts → infer → retrieve → rank → labels, one text at a time or streams of them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from irr.config import Settings
from irr.encoders.base import Encoder
from irr.errors import UsageError
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
from irr.retrieve.retriever import Retriever
from irr.text.passages import excerpt
from irr.text.words import clean
from irr.types import (
    Candidate,
    Costs,
    Example,
    Inference,
    Prediction,
    RankedLabel,
    Ranking,
    RowError,
    Trace,
)

# A group of texts ends here: enough to fill the encoder's batches, few enough to stream.
_GROUP_CHARACTERS = 30_000


@dataclass(frozen=True, kw_only=True, eq=False)
class InferRetrieveRank:
    """A program: call it with one text, or stream many through `batch`. It is immutable.

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
        examples: Labelled texts that count as evidence for their labels.
        leave_one_out: Whether an example counts for other texts only.
        part: Ids of the labels that texts may get; None for all.
        custom: A part that the caller brought and that no name stands for; "" if there is none.
        group_texts: How many texts go through the stages together.
        workers: Groups that are under way at a time; more than one pays when a stage waits for a server.
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
    examples: tuple[Example, ...] = ()
    leave_one_out: bool = False
    part: frozenset[str] | None = None
    custom: str = ""
    group_texts: int = 64
    workers: int = 1
    _process: int = field(default_factory=os.getpid, init=False, repr=False)
    # Encoders need not bear several threads, and gain nothing from them.
    _retrieving: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @cached_property
    def recipe(self) -> Recipe:
        """Everything besides the label space that its answers depend on."""
        stages = (self.inferer, self.retriever, self.ranker)
        return Recipe(
            encoder=model_of(self.encoder),
            infer=model_of(self.infer_lm) if self.infer_lm else None,
            rank=model_of(self.rank_lm) if self.rank_lm else None,
            settings=self.settings,
            stages=tuple(type(stage).__qualname__ for stage in stages),
            custom=self.custom,
            task=self.task,
            examples=self.examples,
            leave_one_out=self.leave_one_out,
        )

    @property
    def digest(self) -> str:
        """SHA-256 over all that its answers depend on: two programs of one digest answer alike."""
        part = "" if self.part is None else "\n".join(["", *sorted(self.part)])
        return self.recipe.digest(self.space.fingerprint + part)

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
        return replace(self, retriever=self.retriever.within(numbers), part=part)

    def __call__(self, text: str | None, top_k: int = 10, trace: bool = False) -> Prediction:
        """Puts one text into the label space.

        Args:
            text: Any text; None is a missing one.
            top_k: How many labels to return.
            trace: Whether the prediction carries every stage's output.

        Returns:
            The prediction; a text that cannot be answered has its `error` set.
        """
        return next(self.batch([text], top_k, trace))

    def batch(
        self, texts: Iterable[str | None] | Any, top_k: int = 10, trace: bool = False
    ) -> Iterator[Prediction]:
        """Yields one prediction for each text, in order, while the texts are still being read.

        Args:
            texts: The texts, a series of them, or a data frame with a column `text`. What is missing or no
                text has an error in its prediction.
            top_k: How many labels to return of each.
            trace: Whether predictions carry every stage's output.

        Raises:
            UsageError: At the call, if `texts` is one text or a data frame without texts, no label is asked
                for, or the process was forked from the one that built the program.
        """
        if os.getpid() != self._process:  # a fork has none of the threads of encoder, index and models
            hint = 'load it in each process, or start processes by "spawn"'
            raise UsageError("this program was built before the process was forked", hint)
        if isinstance(texts, str | bytes | Mapping):
            raise UsageError("batch takes many texts", "call the program with one")
        if top_k < 1:
            raise UsageError(f"top_k is {top_k}", "ask for at least one label")
        return self._batch(texts_of(texts), top_k, trace)

    def _batch(self, texts: Iterable[str | RowError], top_k: int, trace: bool) -> Iterator[Prediction]:
        groups = _groups(texts, self.group_texts)
        if self.workers == 1:
            for group in groups:
                yield from self._group(group, top_k, trace)
            return
        # Some groups are under way at once, so that a model that is waited for always has work.
        under_way: deque[Future[list[Prediction]]] = deque()
        requests = Requests()
        pool = ThreadPoolExecutor(self.workers, "irr-group")
        try:
            for group in groups:
                under_way.append(pool.submit(self._tracked, requests, group, top_k, trace))
                if len(under_way) > self.workers:
                    yield from under_way.popleft().result()
            while under_way:
                yield from under_way.popleft().result()
        finally:
            # Whoever leaves early is not made to wait, or to pay, for answers that nobody reads.
            requests.cancel()
            pool.shutdown(cancel_futures=True)

    def _tracked(
        self, requests: Requests, texts: Sequence[str | RowError], top_k: int, trace: bool
    ) -> list[Prediction]:
        with requests.made_here():
            return self._group(texts, top_k, trace)

    def _group(self, texts: Sequence[str | RowError], top_k: int, trace: bool) -> list[Prediction]:
        cleaned = [clean(text) if isinstance(text, str) else text for text in texts]
        problems = [self._problem(text) for text in cleaned]
        usable = [
            text
            for text, problem in zip(cleaned, problems, strict=True)
            if problem is None and isinstance(text, str)
        ]
        inferences = self.inferer.infer(usable)
        depth = max(top_k, self.settings.retrieve.candidates)
        with self._retrieving:
            found = self.retriever.retrieve([i.queries for i in inferences], depth, trace)
        rankings = self.ranker.rank([*map(self.shown, usable, found)], found)
        arranged = partial(self._arranged, top_k)
        answers = map(partial(_prediction, arranged, trace), inferences, found, rankings)
        return [Prediction(error=problem) if problem else next(answers) for problem in problems]

    def _arranged(self, top_k: int, ranking: Sequence[RankedLabel]) -> tuple[RankedLabel, ...]:
        labels = arrange(self.space, self.settings.hierarchy, top_k, ranking)
        return tuple(label for label in labels if self.part is None or label.id in self.part)

    def shown(self, text: str, candidates: Sequence[Candidate]) -> str:
        """What of a text the ranker reads: all of a short one, of a long one what speaks for candidates."""
        places = (candidate.place for candidate in candidates if candidate.place)
        return excerpt(text, places, self.settings.rank.characters)

    def _problem(self, text: str | RowError) -> RowError | None:
        if isinstance(text, RowError):
            return text
        if not text:
            return RowError(code="empty_text", message="the text holds nothing to read")
        limit = self.settings.max_characters
        if len(text) > limit:
            message = f"{len(text):,} characters, at most {limit:,} are read: split the text"
            return RowError(code="text_too_long", message=message)
        return None


def _prediction(
    arranged: Callable[[Sequence[RankedLabel]], tuple[RankedLabel, ...]],
    trace: bool,
    inference: Inference,
    candidates: Sequence[Candidate],
    ranking: Ranking,
) -> Prediction:
    fallbacks = (inference.fallback, ranking.fallback)
    return Prediction(
        labels=arranged(ranking.labels),
        fallbacks=tuple(fallback for fallback in fallbacks if fallback is not None),
        costs=Costs(infer=inference.usage, rank=ranking.usage),
        trace=Trace(queries=inference.queries, candidates=tuple(candidates), ranking=ranking.labels)
        if trace
        else None,
    )


def _groups(texts: Iterable[str | RowError], size: int) -> Iterator[list[str | RowError]]:
    group: list[str | RowError] = []
    characters = 0
    for text in texts:
        group.append(text)
        characters += len(text) if isinstance(text, str) else 0
        if len(group) >= size or characters >= _GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group
