"""A program: built, called with one text or with a stream of texts, restricted, and identified."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from irr.calibrate.calibration import Calibration
from irr.calibrate.decision import BEST, Decision
from irr.config import Settings
from irr.encoders.base import Encoder
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import ProgramError, UsageError
from irr.hub import cache_folder
from irr.index.store import LabelIndex, open_index
from irr.index.vectors import Progress
from irr.io.columns import EXAMPLES
from irr.io.records import frame_records, frame_texts
from irr.io.validation import explain
from irr.labels.hierarchy import part_of
from irr.labels.space import LabelSpace
from irr.lm.protocol import LanguageModel
from irr.program.grouping import Coalescer, stream
from irr.program.spec import Models, ProgramSpec
from irr.program.stages import AnswerOptions, Stages
from irr.prompts.pack import TaskPack, load_task
from irr.rank.ranker import Ranker
from irr.retrieve.features import Combination, default_combination
from irr.types import Example, Label, Prediction, Query, QueryKind

if TYPE_CHECKING:
    from irr.program.dspy_module import ProgramModule

_TOP_K = 10


def build(
    labels: LabelSpace | str | Path | Iterable[Label | Mapping[str, Any] | str],
    *,
    encoder: Encoder | str | None = None,
    settings: Settings | None = None,
    infer_lm: LanguageModel | None = None,
    rank_lm: LanguageModel | None = None,
    task: TaskPack | str = "default",
    examples: Iterable[Example | Mapping[str, Any]] = (),
    combination: Combination | None = None,
    ranker: Ranker | None = None,
    index_folder: str | Path | None = None,
    index_server: str | None = None,
    progress: Progress | None = None,
) -> InferRetrieveRank:
    """Builds a program for a label space; its index is built at first use and reused afterwards.

    Args:
        labels: A label file, a label space, the labels themselves, or a data frame of them by column names.
        encoder: An encoder, or the name or folder of a sentence-transformers model.
        settings: The settings of all stages.
        infer_lm: The model that proposes terms; None for no model.
        rank_lm: The model that orders the candidates; None for no model.
        task: The prompts of the models: a task pack, its name, or its folder.
        examples: Texts with gold labels, `{"text", "labels": [label id]}`, evidence for these labels.
        combination: The weights of the features; the package's own if None.
        ranker: Orders the candidates in place of a language model.
        index_folder: Where indexes are kept; the user's cache folder if None.
        index_server: URL of a Chroma server that holds the vectors of label entries, for many to share.
        progress: Called with (entries done, entries in all) while an index is built.

    Raises:
        UsageError: If both `ranker` and `rank_lm` are given.
        LabelSpaceError: If the labels are not a label space.
        EncoderError: If the encoder cannot be loaded.
        LabelIndexError: If the index cannot be written.
    """
    if ranker and rank_lm:
        raise UsageError("both a ranker and a language model to rank", "give one of them")
    if isinstance(labels, Mapping):
        raise UsageError("labels are one mapping", 'give a list of labels, each with "id" and "name"')
    if isinstance(labels, str | Path):
        labels = LabelSpace.read(labels)
    space = labels if isinstance(labels, LabelSpace) else LabelSpace(labels)
    if encoder is None or isinstance(encoder, str):
        encoder = SentenceEncoder(encoder) if encoder else SentenceEncoder()
    settings = settings or Settings()
    root = Path(index_folder) if index_folder else cache_folder("indexes")
    models = Models(encoder, infer_lm, rank_lm, ranker)
    spec = ProgramSpec.of(
        models,
        settings=settings,
        combination=combination or default_combination(),
        task=load_task(task) if isinstance(task, str) else task,
        examples=_checked(examples, space),
    )
    index = open_index(space, encoder, settings.retrieve.fields, root, progress, index_server)
    return InferRetrieveRank.assemble(spec, models, index)


def _checked(examples: Iterable[Example | Mapping[str, Any]], space: LabelSpace) -> tuple[Example, ...]:
    checked = []
    for number, item in enumerate(frame_records(examples, EXAMPLES), 1):
        try:
            example = item if isinstance(item, Example) else Example.model_validate(item)
        except ValidationError as e:
            problem, hint = explain(e)
            raise UsageError(f"example {number}: {problem}", hint) from e
        unknown = next((label for label in example.labels if label not in space), None)
        if unknown is not None:
            raise UsageError(f'example {number}: label "{unknown}" is not in the label space', "correct it")
        checked.append(example)
    return tuple(checked)


@dataclass(frozen=True, kw_only=True, eq=False)
class InferRetrieveRank:
    """A program: call it with one text, or stream many through `batch`. It is immutable.

    Threads and asyncio tasks may call it at the same time: their texts are answered together, as in a batch.
    It can stand in a `with` block, whose end waits for what is under way. Programs that are made of this one
    share its coalescer.
    """

    spec: ProgramSpec
    models: Models
    index: LabelIndex
    stages: Stages
    coalescer: Coalescer = field(default_factory=Coalescer, repr=False)
    _process: int = field(default_factory=os.getpid, init=False, repr=False)

    @classmethod
    def assemble(cls, spec: ProgramSpec, models: Models, index: LabelIndex) -> InferRetrieveRank:
        """The program of a specification; the examples of the labels join those of the specification."""
        if own := dict.fromkeys(index.space.examples):
            given = (example for example in spec.examples if example not in own)
            spec = spec.replace(examples=(*own, *given))
        if not models.language_models:
            spec = spec.replace(task=None)
        if not spec.examples:
            spec = spec.replace(leave_one_out=False)
        return cls(spec=spec, models=models, index=index, stages=Stages.compose(spec, models, index))

    def __deepcopy__(self, memo: dict[int, Any]) -> InferRetrieveRank:
        return self  # it is immutable

    def module(self, predictors: Sequence[str] = ("infer", "rank")) -> ProgramModule:
        """The program as a `dspy.Module` with these predictors, which any DSPy optimizer can compile."""
        from irr.program.dspy_module import ProgramModule

        return ProgramModule(self, predictors)

    @property
    def space(self) -> LabelSpace:
        """The label space."""
        return self.index.space

    @property
    def settings(self) -> Settings:
        """The settings of all stages."""
        return self.spec.settings

    @property
    def encoder(self) -> Encoder:
        """The encoder of queries and labels."""
        return self.models.encoder

    @property
    def examples(self) -> tuple[Example, ...]:
        """Labelled texts that count as evidence for their labels."""
        return self.spec.examples

    @property
    def part(self) -> frozenset[str] | None:
        """Ids of the labels that texts may get; None for all."""
        return self.stages.part

    @property
    def calibration(self) -> Calibration | None:
        """What gives labels their probabilities; None if it was not calibrated."""
        return self.stages.calibration

    @property
    def digest(self) -> str:
        """SHA-256 of all that its answers depend on: two programs with one digest answer alike."""
        rankings = self.spec.digest(self.space.fingerprint)
        if self.calibration is None:
            return rankings
        return hashlib.sha256(f"{rankings}\n{self.calibration.model_dump_json()}".encode()).hexdigest()

    @property
    def ranking_digest(self) -> str:
        """SHA-256 of all that its rankings depend on; a calibration is fitted for one."""
        return self.spec.replace(leave_one_out=False).digest(self.space.fingerprint)

    def calibrated(self, calibration: Calibration | None) -> InferRetrieveRank:
        """The program with this calibration, or without one; raises if it was fitted for another program."""
        if calibration and calibration.program != self.ranking_digest:
            raise ProgramError("the calibration was fitted for another program", "calibrate this one")
        return replace(self, stages=replace(self.stages, calibration=calibration))

    def leaving_examples_out(self) -> InferRetrieveRank:
        """The same program, in which an example is evidence for other texts only, as in scoring examples."""
        if not self.examples:
            return self
        spec = self.spec.replace(leave_one_out=True)
        alone = InferRetrieveRank.assemble(spec.replace(part=None), self.models, self.index)
        alone = alone if self.part is None else alone.within(only=self.part)
        return alone.calibrated(self.calibration)

    def in_groups(self, texts: int, workers: int = 1) -> InferRetrieveRank:
        """The program with so many texts in a group, and so many groups under way at a time."""
        return replace(self, stages=replace(self.stages, group_texts=texts, workers=workers))

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
            UsageError: If no label has an id, or no label is left.
        """
        numbers = part_of(self.space, branch, only, without)
        part = frozenset(self.space[int(number)].id for number in numbers)
        if self.part is not None:
            part &= self.part
            numbers = part_of(self.space, only=part)
        # A calibration for rankings of all labels does not hold for those of a part.
        retriever = self.stages.retriever.within(numbers)
        stages = replace(self.stages, retriever=retriever, part=part, calibration=None)
        return replace(self, spec=self.spec.replace(part=tuple(sorted(part))), stages=stages)

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
        options = self._options(top_k, trace, decision)
        return self.coalescer.answer(self.stages, options, next(frame_texts([text])))

    async def aclassify(
        self, text: str | None, top_k: int | None = None, trace: bool = False, decision: Decision = BEST
    ) -> Prediction:
        """Puts one text into the label space, from a coroutine; the event loop goes on meanwhile.

        Takes, returns and raises what a call does. Cancelling it disturbs no other text.
        """
        options = self._options(top_k, trace, decision)
        future = self.coalescer.submit(self.stages, options, next(frame_texts([text])))
        return await asyncio.wrap_future(future)

    def batch(
        self,
        texts: Iterable[str | None] | Any,
        top_k: int | None = None,
        trace: bool = False,
        decision: Decision = BEST,
    ) -> Iterator[Prediction]:
        """Yields one prediction for each text, in order, while the texts are still being read.

        Args:
            texts: The texts, a series of them, or a data frame with a column `text`. A missing text, or a
                value of another type, has an error in its prediction.
            top_k: As for one text.
            trace: As for one text.
            decision: As for one text.

        Raises:
            UsageError: At the call, if `texts` is one text or a data frame without texts, no label is asked
                for, the program is not calibrated or cannot keep a promise, or the process was forked from
                the one that built it.
        """
        if isinstance(texts, str | bytes | Mapping):
            raise UsageError("batch takes many texts", "call the program with one")
        options = self._options(top_k, trace, decision)
        return stream(frame_texts(texts), self.stages, options)

    @property
    def concurrency(self) -> int:
        """How many texts are under way at a time, at most."""
        return self.stages.group_texts * self.stages.workers

    def nearest_labels(self, text: str, count: int) -> list[tuple[Label, float]]:
        """At most `count` labels with the cosine of the entry that is most similar to a text, best first."""
        numbers, cosines = self.stages.retriever.nearest(text, count)
        return [(self.space[int(n)], float(cosine)) for n, cosine in zip(numbers, cosines, strict=True)]

    def warm_up(self) -> None:
        """Retrieves once, so that the first text takes no longer than others; asks no language model."""
        self._options(None, False, BEST)
        queries = [Query(text=self.space[0].name, kind=kind) for kind in (QueryKind.TEXT, QueryKind.SPAN)]
        self.stages.retrieve([queries], _TOP_K)

    def close(self) -> None:
        """Waits until the texts of concurrent callers are answered; no thread for them is left then."""
        self.coalescer.close()

    def __enter__(self) -> InferRetrieveRank:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _options(self, top_k: int | None, trace: bool, decision: Decision) -> AnswerOptions:
        if os.getpid() != self._process:  # a fork has none of the threads of encoder, index and models
            hint = 'load it in each process, or start processes by "spawn"'
            raise UsageError("this program was built before the process was forked", hint)
        if top_k is not None and top_k < 1:
            raise UsageError(f"top_k is {top_k}", "ask for at least one label")
        if top_k is not None and decision.recall:
            raise UsageError("top_k would break the promise of recall", "leave top_k out")
        if top_k is None and not decision.cuts:
            top_k = _TOP_K
        thresholds = None
        if decision.calibrated:
            if not self.calibration:
                problem = "the program is not calibrated, and so has no probabilities"
                raise UsageError(problem, "calibrate it first")
            thresholds = self.calibration.thresholds(decision)
        return AnswerOptions(top_k, thresholds, trace)


def from_module(module: ProgramModule) -> InferRetrieveRank:
    """The program of a module, with the prompts that its predictors have now."""
    program: InferRetrieveRank = module.program
    return InferRetrieveRank.assemble(program.spec.replace(task=module.task()), program.models, program.index)
