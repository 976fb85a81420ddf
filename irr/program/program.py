"""A program: what it consists of and is known by, and how texts come to it, one at a time or in streams."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from irr.calibrate.selection import BEST, Cut, Decision
from irr.encoders.base import Encoder
from irr.errors import ProgramError, UsageError
from irr.io.records import frame_texts
from irr.labels.part import part_of
from irr.lm.base import LanguageModel
from irr.program.coalescing import Coalescer, Way
from irr.program.spec import Recipe, model_of
from irr.program.stages import Stages, Wanted
from irr.program.streaming import GROUP_CHARACTERS, stream
from irr.prompts.pack import TaskPack
from irr.retrieve.combination import PLAIN, Combination
from irr.types import Example, Prediction, Query, QueryKind

_TOP_K = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class InferRetrieveRank(Stages):
    """A program: call it with one text, or stream many through `batch`. It is immutable.

    Threads and asyncio tasks may call it at the same time: their texts are answered together, as in a batch.
    It can stand in a `with` block, whose end waits for what is under way.

    Attributes:
        encoder: Encodes queries and labels.
        infer_lm: The language model of the first stage, if it has one.
        rank_lm: The language model of the third stage, if it has one.
        task: The task pack of the language models; None without them.
        combination: The weights of the features that retrieval computes.
        examples: Labelled texts that count as evidence for their labels.
        leave_one_out: Whether an example counts for other texts only.
        custom: A part that the caller brought and that no name stands for; "" if there is none.
        group_texts: How many texts go through the stages together.
        workers: Groups that are under way at a time; more than one pays when a stage waits for a server.
        coalescer: Groups the texts of concurrent callers; programs that are made of this one share it.
    """

    encoder: Encoder
    infer_lm: LanguageModel | None = None
    rank_lm: LanguageModel | None = None
    task: TaskPack | None = None
    combination: Combination = PLAIN
    examples: tuple[Example, ...] = ()
    leave_one_out: bool = False
    custom: str = ""
    group_texts: int = 64
    workers: int = 1
    coalescer: Coalescer = field(default_factory=Coalescer, repr=False)
    _process: int = field(default_factory=os.getpid, init=False, repr=False)

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
        return self.coalescer.answer(way, next(frame_texts([text])))

    async def aclassify(
        self, text: str | None, top_k: int | None = None, trace: bool = False, decision: Decision = BEST
    ) -> Prediction:
        """Puts one text into the label space, from a coroutine; the event loop goes on meanwhile.

        Takes, returns and raises what a call does. Cancelling it disturbs no other text.
        """
        way = self._way(self._wanted(top_k, trace, decision))
        return await asyncio.wrap_future(self.coalescer.submit(way, next(frame_texts([text]))))

    def warm_up(self) -> None:
        """Retrieves once, so that the first text takes no longer than others; asks no language model."""
        self._wanted(None, False, BEST)
        queries = [Query(text=self.space[0].name, kind=kind) for kind in (QueryKind.TEXT, QueryKind.SPAN)]
        self._retrieve([queries], _TOP_K)

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
        wanted = self._wanted(top_k, trace, decision)
        return stream(
            frame_texts(texts), lambda group: self._answer(group, wanted), self.group_texts, self.workers
        )

    def _wanted(self, top_k: int | None, trace: bool, decision: Decision) -> Wanted:
        if os.getpid() != self._process:  # a fork has none of the threads of encoder, index and models
            hint = 'load it in each process, or start processes by "spawn"'
            raise UsageError("this program was built before the process was forked", hint)
        if top_k is not None and top_k < 1:
            raise UsageError(f"top_k is {top_k}", "ask for at least one label")
        if top_k is not None and decision.recall:
            raise UsageError("at most so many labels a text break a promise of recall", "leave top_k out")
        if top_k is None and not decision.cuts:
            top_k = _TOP_K
        return Wanted(top_k, self._cut(decision), trace)

    def _way(self, wanted: Wanted) -> Way:
        """How a text of a concurrent caller is answered: with others of this program that want the same."""
        return Way(
            key=(self, wanted),
            run=lambda group: self._answer(group, wanted),
            texts=self.group_texts,
            characters=GROUP_CHARACTERS,
            workers=self.workers,
        )

    def _cut(self, decision: Decision) -> Cut | None:
        if self.calibration:
            return self.calibration.cut(decision) if decision.calibrated else None
        if decision.calibrated:
            hint = "run irr calibrate --program DIR --gold FILE first"
            raise UsageError("the program is not calibrated, so that it knows no probabilities", hint)
        return None
