"""Joins the stages: texts → infer → retrieve → rank → labels. The only file that knows all three."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from irr.encoder import Encoder, OneAtATime, SentenceEncoder
from irr.errors import UsageError
from irr.hierarchy import arrange
from irr.index import LabelIndex, Progress, open_index
from irr.infer import Inferer, SpanInferer, passages
from irr.labels import LabelSpace
from irr.lm import EMBEDDED, LanguageModel, Requests
from irr.neighbours import Example, Neighbours
from irr.prompts import ChooseDemos, TaskPack, load_task
from irr.rank import Ranker, RetrievalRanker
from irr.recipe import Recipe, model_of
from irr.retrieve import EXACT_ENTRIES, LabelRetriever, Retriever
from irr.settings import RankMethod, Settings
from irr.types import (
    Candidate,
    Costs,
    Inference,
    Label,
    Prediction,
    RankedLabel,
    Ranking,
    RowError,
    Trace,
)
from irr.words import clean

# Texts go through the stages in groups: enough to fill the encoder's batches, few enough to stream.
_GROUP_TEXTS = 64
_GROUP_CHARACTERS = 30_000
# The same where a language model is waited for: small groups, so that none waits long for its slowest text.
_LM_GROUP_TEXTS = 8


class InferRetrieveRank:
    """A program: call it with one text, or stream many through `batch`.

    Attributes:
        space: The label space.
        encoder: What queries and labels are encoded with.
        settings: The numbers it runs with.
        inferer: Its first stage.
        retriever: Its second.
        ranker: Its third.
        infer_lm: The language model of the first, if it has one.
        rank_lm: The language model of the third, if it has one.
        task: What they are told; None where there are none.
        examples: Labelled texts that speak for their labels.
        custom: A part that the caller brought and that no name stands for; "" if there is none.
        group_texts: How many texts go through the stages together.
        workers: Groups that are under way at a time; more than one pays when a stage waits for a server.
    """

    def __init__(
        self,
        space: LabelSpace,
        encoder: Encoder,
        inferer: Inferer,
        retriever: Retriever,
        ranker: Ranker,
        settings: Settings,
    ) -> None:
        self.space = space
        self.encoder = encoder
        self.settings = settings
        self.infer_lm: LanguageModel | None = None
        self.rank_lm: LanguageModel | None = None
        self.task: TaskPack | None = None
        self.examples: tuple[Example, ...] = ()
        self.custom = ""
        self.group_texts = _GROUP_TEXTS
        self.workers = 1
        self.inferer = inferer
        self.retriever = retriever
        self.ranker = ranker
        # Encoders need not bear several threads, and gain nothing from them.
        self._retrieving = threading.Lock()

    @cached_property
    def recipe(self) -> Recipe:
        """All that it is made of besides the label space."""
        return Recipe(
            encoder=model_of(self.encoder),
            infer=model_of(self.infer_lm) if self.infer_lm else None,
            rank=model_of(self.rank_lm) if self.rank_lm else None,
            settings=self.settings,
            task=self.task,
            examples=self.examples,
        )

    @property
    def digest(self) -> str:
        """SHA-256 over all that its answers depend on: two programs of one digest answer alike."""
        return self.recipe.digest(self.space.fingerprint + self.custom)

    def __call__(self, text: str, top_k: int = 10, trace: bool = False) -> Prediction:
        """Puts one text into the label space.

        Args:
            text: Any text.
            top_k: How many labels to return.
            trace: Whether the prediction carries every stage's output.

        Returns:
            The prediction; a text that cannot be answered has its `error` set.
        """
        return next(self.batch([text], top_k, trace))

    def batch(self, texts: Iterable[str], top_k: int = 10, trace: bool = False) -> Iterator[Prediction]:
        """Yields one prediction for each text, in order, while the texts are still being read.

        Raises:
            UsageError: At the call, if `texts` is one text, or no label is asked for.
        """
        if isinstance(texts, str | bytes):
            raise UsageError("batch takes many texts", "call the program with one")
        if top_k < 1:
            raise UsageError(f"top_k is {top_k}", "ask for at least one label")
        return self._batch(texts, top_k, trace)

    def _batch(self, texts: Iterable[str], top_k: int, trace: bool) -> Iterator[Prediction]:
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

    def _tracked(self, requests: Requests, texts: Sequence[str], top_k: int, trace: bool) -> list[Prediction]:
        with requests.made_here():
            return self._group(texts, top_k, trace)

    def _group(self, texts: Sequence[str], top_k: int, trace: bool) -> list[Prediction]:
        cleaned = [clean(text) for text in texts]
        problems = [self._problem(text) for text in cleaned]
        usable = [text for text, problem in zip(cleaned, problems, strict=True) if problem is None]
        inferences = self.inferer.infer(usable)
        depth = max(top_k, self.settings.candidates)
        with self._retrieving:
            found = self.retriever.retrieve([i.queries for i in inferences], depth, trace)
        rankings = self.ranker.rank(usable, found)
        arranged = partial(arrange, self.space, self.settings.hierarchy, top_k)
        answers = map(partial(_prediction, arranged, trace), inferences, found, rankings)
        return [Prediction(error=problem) if problem else next(answers) for problem in problems]

    def _problem(self, text: str) -> RowError | None:
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


def build(
    labels: LabelSpace | str | Path | Iterable[Label | Mapping[str, Any] | str],
    *,
    encoder: Encoder | str | None = None,
    settings: Settings | None = None,
    infer_lm: LanguageModel | None = None,
    rank_lm: LanguageModel | None = None,
    task: TaskPack | str = "default",
    examples: Iterable[Example | Mapping[str, Any]] = (),
    ranker: Ranker | None = None,
    index_folder: str | Path | None = None,
    progress: Progress | None = None,
) -> InferRetrieveRank:
    """Builds a program for a label space; its index is made on the first call and reused afterwards.

    Args:
        labels: A label file, a label space, or the labels themselves.
        encoder: An encoder, or the name or folder of a sentence-transformers model.
        settings: The numbers to run with.
        infer_lm: Proposes terms for each text; none if None.
        rank_lm: Orders the candidates; none if None.
        task: What the language models are told: a task pack, its name, or its folder.
        examples: Texts with right labels, `{"text", "labels": [label id]}`, which speak for their labels.
        ranker: Orders the candidates, instead of a language model.
        index_folder: Where indexes are kept; the user's cache folder if None.
        progress: Called with (entries done, entries in all) while an index is built.

    Raises:
        UsageError: If both `ranker` and `rank_lm` are given.
        LabelSpaceError: If the labels are not a label space.
        EncoderError: If the encoder is not there.
        LabelIndexError: If the index cannot be written.
    """
    if ranker and rank_lm:
        raise UsageError("both a ranker and a language model to rank", "give one of them")
    settings = settings or Settings()
    custom = "a ranker of its own" if ranker else ""
    if encoder and not isinstance(encoder, str | SentenceEncoder):
        custom = "an encoder of its own"
    if isinstance(labels, Mapping):
        raise UsageError("labels are one mapping", 'give a list of labels, each with "id" and "name"')
    if isinstance(labels, str | Path):
        labels = LabelSpace.read(labels)
    space = labels if isinstance(labels, LabelSpace) else LabelSpace(labels)
    if encoder is None or isinstance(encoder, str):
        encoder = SentenceEncoder(encoder) if encoder else SentenceEncoder()
    root = Path(index_folder) if index_folder else default_index_folder()
    index = open_index(space, encoder, settings.fields, root, progress)
    program = assemble(
        index,
        encoder,
        settings,
        infer_lm=infer_lm,
        rank_lm=rank_lm,
        task=load_task(task) if isinstance(task, str) else task,
        examples=_checked(examples, space),
        ranker=ranker,
    )
    program.custom = custom
    return program


def assemble(
    index: LabelIndex,
    encoder: Encoder,
    settings: Settings,
    *,
    infer_lm: LanguageModel | None = None,
    rank_lm: LanguageModel | None = None,
    task: TaskPack,
    examples: tuple[Example, ...] = (),
    leave_one_out: bool = False,
    ranker: Ranker | None = None,
    exact_entries: int = EXACT_ENTRIES,
) -> InferRetrieveRank:
    """Joins the stages over an index that is open.

    Args:
        index: Made by this encoder, with the fields of these settings.
        encoder: Encodes the queries.
        settings: The numbers to run with.
        infer_lm: Proposes terms for each text; none if None.
        rank_lm: Orders the candidates; none if None.
        task: What the language models are told.
        examples: Texts with labels of the label space.
        leave_one_out: Whether an example counts for other texts only, as it must where examples are scored.
        ranker: Orders the candidates, instead of a language model.
        exact_entries: Up to here every entry is scored.
    """
    models = [model for model in (infer_lm, rank_lm) if model]
    shared = OneAtATime(encoder) if models else encoder
    neighbours = Neighbours(examples, index.space, shared, passages, leave_one_out) if examples else None

    def chooser(count: int) -> ChooseDemos | None:
        return neighbours.chooser(count) if neighbours and count else None

    inferer: Inferer = SpanInferer(settings.span_words, settings.span_content_words)
    if infer_lm:
        inferer = _lm_inferer(inferer, infer_lm, task, settings, chooser(settings.infer_near_demos))
    retriever = LabelRetriever(index, shared, settings, exact_entries, neighbours)
    ranker = ranker or RetrievalRanker()
    if rank_lm:
        ranker = _lm_ranker(rank_lm, task, settings, chooser(settings.rank_near_demos))
    program = InferRetrieveRank(index.space, encoder, inferer, retriever, ranker, settings)
    program.infer_lm, program.rank_lm = infer_lm, rank_lm
    program.task = task if models else None
    program.examples = examples
    if models:
        program.group_texts = _LM_GROUP_TEXTS
        # Twice what a model works on at a time: while one half is asked about, the other is retrieved.
        program.workers = max(1, 2 * max(model.concurrency for model in models) // _LM_GROUP_TEXTS)
    return program


def _checked(examples: Iterable[Example | Mapping[str, Any]], space: LabelSpace) -> tuple[Example, ...]:
    checked = []
    for number, item in enumerate(examples, 1):
        try:
            example = item if isinstance(item, Example) else Example.model_validate(item)
        except ValidationError as e:
            problem = f"{e.error_count()} mistakes, the first: {e.errors()[0]['msg']}"
            raise UsageError(f"example {number}: {problem}", 'give {"text", "labels": [label id]}') from e
        unknown = next((label for label in example.labels if label not in space), None)
        if unknown is not None:
            raise UsageError(f'example {number}: label "{unknown}" is not in the label space', "correct it")
        checked.append(example)
    return tuple(checked)


def _lm_inferer(
    base: Inferer, model: LanguageModel, task: TaskPack, settings: Settings, choose: ChooseDemos | None
) -> Inferer:
    from irr.infer_lm import LMInferer

    return LMInferer(base, model, task, settings.demos, choose)


def _lm_ranker(
    model: LanguageModel, task: TaskPack, settings: Settings, choose: ChooseDemos | None
) -> Ranker:
    from irr.rank_lm import Evidence, Likelihood, Listwise, LMRanker, Pointwise

    method = rank_method(model, settings)
    evidence: Evidence
    match method:
        case RankMethod.POINTWISE:
            evidence = Pointwise(model, task, settings.demos)
        case RankMethod.LIKELIHOOD:
            evidence = Likelihood(model, task)
        case _:
            evidence = Listwise(model, task, settings.demos, window=settings.rank_window)
    return LMRanker(evidence, settings.method_weight(method), settings.candidates, choose)


def rank_method(model: LanguageModel, settings: Settings) -> RankMethod:
    """How a model ranks where the settings leave it open."""
    if settings.rank_method is not RankMethod.AUTO:
        return settings.rank_method
    return RankMethod.LIKELIHOOD if model.name == EMBEDDED else RankMethod.LISTWISE


def default_index_folder() -> Path:
    """Where indexes are kept unless another folder is named."""
    from platformdirs import user_cache_path

    return user_cache_path("irr", appauthor=False) / "indexes"


def _groups(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    group: list[str] = []
    characters = 0
    for text in texts:
        group.append(text)
        characters += len(text)
        if len(group) >= size or characters >= _GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group
