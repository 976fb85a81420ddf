"""Builds programs: chooses the three stages, and joins them over a label space's index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from irr.config import RankMethod, RankSettings, Settings
from irr.encoders.base import Encoder, LockedEncoder
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import UsageError
from irr.hub import cache_folder
from irr.index.store import LabelIndex, open_index
from irr.index.vectors import Progress
from irr.infer.spans import Inferer, SpanInferer
from irr.io.columns import EXAMPLES
from irr.io.records import frame_records
from irr.io.validation import explain
from irr.labels.space import LabelSpace
from irr.lm.base import LanguageModel
from irr.program.program import InferRetrieveRank
from irr.prompts.pack import ChooseDemos, TaskPack, load_task
from irr.rank.base import Evidence, Ranker, RetrievalRanker
from irr.retrieve.combination import Combination, default_combination
from irr.retrieve.examples import ExampleIndex
from irr.retrieve.retriever import LabelRetriever
from irr.types import Example, Label

# Texts that go through the stages together: many suit the encoder; few suit a language model, because a
# group waits for its slowest text.
_GROUP_TEXTS = 64
_LM_GROUP_TEXTS = 8


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
    root = Path(index_folder) if index_folder else cache_folder("indexes")
    index = open_index(space, encoder, settings.retrieve.fields, root, progress, index_server)
    return assemble(
        index,
        encoder,
        settings,
        infer_lm=infer_lm,
        rank_lm=rank_lm,
        task=load_task(task) if isinstance(task, str) else task,
        examples=_checked(examples, space),
        combination=combination,
        ranker=ranker,
        custom=custom,
    )


def assemble(
    index: LabelIndex,
    encoder: Encoder,
    settings: Settings,
    *,
    infer_lm: LanguageModel | None = None,
    rank_lm: LanguageModel | None = None,
    task: TaskPack,
    examples: tuple[Example, ...] = (),
    combination: Combination | None = None,
    leave_one_out: bool = False,
    ranker: Ranker | None = None,
    custom: str = "",
) -> InferRetrieveRank:
    """Joins the stages over an open index.

    Args:
        index: An index of this encoder, with the fields of these settings.
        encoder: Encodes the queries.
        settings: The settings of all stages.
        infer_lm: The model that proposes terms; None for no model.
        rank_lm: The model that orders the candidates; None for no model.
        task: The prompts of the models.
        examples: Texts with labels of the label space; the examples that labels have themselves join them.
        combination: The weights of the features; the package's own if None.
        leave_one_out: Whether an example is evidence for other texts only, as in scoring examples.
        ranker: Orders the candidates in place of a language model.
        custom: The caller's own part, which has no name.
    """
    combination = combination or default_combination()
    if own := dict.fromkeys(index.space.examples):
        examples = (*own, *(example for example in examples if example not in own))
    models = [model for model in (infer_lm, rank_lm) if model]
    shared = LockedEncoder(encoder) if models else encoder
    spans = SpanInferer(settings.infer)
    neighbours = (
        ExampleIndex(examples, index.space, shared, spans.passage_texts, leave_one_out) if examples else None
    )

    def chooser(count: int) -> ChooseDemos | None:
        return neighbours.chooser(count) if neighbours and count else None

    inferer: Inferer = spans
    if infer_lm:
        inferer = _lm_inferer(inferer, infer_lm, task, settings, chooser(settings.infer.near_demos))
    retriever = LabelRetriever(index, shared, settings, neighbours, combination)
    ranker = ranker or RetrievalRanker()
    if rank_lm:
        ranker = _lm_ranker(rank_lm, task, settings, chooser(settings.rank.near_demos))
    # Twice the concurrency of a model, because one half is retrieved while the other half is asked about.
    under_way = 2 * max((model.concurrency for model in models), default=0)
    return InferRetrieveRank(
        space=index.space,
        encoder=encoder,
        settings=settings,
        inferer=inferer,
        retriever=retriever,
        ranker=ranker,
        infer_lm=infer_lm,
        rank_lm=rank_lm,
        task=task if models else None,
        combination=combination,
        examples=examples,
        leave_one_out=leave_one_out and bool(examples),
        custom=custom,
        group_texts=_LM_GROUP_TEXTS if models else _GROUP_TEXTS,
        workers=max(1, under_way // _LM_GROUP_TEXTS),
    )


def leaving_one_out(program: InferRetrieveRank, index_folder: str | Path | None = None) -> InferRetrieveRank:
    """The same program, in which an example is evidence for other texts only, as in scoring examples.

    Args:
        program: A program without a ranker or an encoder of the caller's own.
        index_folder: Where its index is kept; the user's cache folder if None.
    """
    root = Path(index_folder) if index_folder else cache_folder("indexes")
    index = open_index(program.space, program.encoder, program.settings.retrieve.fields, root)
    alone = assemble(
        index,
        program.encoder,
        program.settings,
        infer_lm=program.infer_lm,
        rank_lm=program.rank_lm,
        task=program.task or load_task("default"),
        examples=program.examples,
        combination=program.combination,
        leave_one_out=True,
        custom=program.custom,
    )
    if program.part is not None:
        alone = alone.within(only=program.part)
    return replace(alone, calibration=program.calibration)


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


def _lm_inferer(
    base: Inferer, model: LanguageModel, task: TaskPack, settings: Settings, choose: ChooseDemos | None
) -> Inferer:
    from irr.infer.lm import LMInferer

    return LMInferer(base, model, task, settings.infer.demos, choose)


def _lm_ranker(
    model: LanguageModel, task: TaskPack, settings: Settings, choose: ChooseDemos | None
) -> Ranker:
    from irr.rank.lm import Depth, LMRanker

    method = rank_method(model, settings)
    evidence = evidence_of(method, model, task, settings.rank)
    depth = Depth(settings.retrieve.candidates, settings.rank.listwise_count, settings.rank.score_gap)
    return LMRanker(evidence, settings.rank.method_weight(method), depth, choose)


def evidence_of(method: RankMethod, model: LanguageModel, task: TaskPack, settings: RankSettings) -> Evidence:
    """A model's evidence for candidates by one method."""
    from irr.rank.likelihood import Likelihood
    from irr.rank.listwise import Listwise
    from irr.rank.pointwise import Pointwise

    match method:
        case RankMethod.POINTWISE:
            return Pointwise(model, task, settings.demos)
        case RankMethod.LIKELIHOOD:
            return Likelihood(model, task, settings.likelihood_correction)
        case _:
            return Listwise(model, task, settings)


def rank_method(model: LanguageModel, settings: Settings) -> RankMethod:
    """The rank method of a model; with `auto`, the one that suits it best.

    Raises:
        UsageError: If the model lacks the method.
    """
    method = settings.rank.method
    if method is RankMethod.AUTO:
        return model.capabilities.ranks_by
    if method is not RankMethod.LISTWISE and not model.capabilities.scores:
        raise UsageError(f'the model "{model.name}" gives no probabilities', "use --rank-method listwise")
    return method
