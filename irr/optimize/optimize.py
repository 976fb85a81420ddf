"""Optimizes a program on tens of examples: hyperparameters first, then prompts."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from irr.builder import assemble, default_index_folder
from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import LMUnavailableError, UsageError
from irr.evaluate.evaluate import evaluate
from irr.frozen.manifest import Scores
from irr.index.store import open_index
from irr.index.vectors import Progress
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.lm.base import Capabilities, LanguageModel
from irr.optimize.budget import Budget, MeteredModel, Stopped
from irr.optimize.calibrating import calibrate
from irr.optimize.scorer import Plan, Scorer, Trial
from irr.optimize.search import Optimizer, check_optimizer
from irr.optimize.stages import BOTH, INFER, RANK, Improver, Students
from irr.optimize.tuning import combine, tune
from irr.pipeline import InferRetrieveRank
from irr.prompts.pack import TaskPack, load_task

_FEWEST = 4


@dataclass(frozen=True)
class Optimized:
    """What optimization came to.

    Attributes:
        program: The best program found.
        trials: All that were tried, in order.
        scores: What it scores, and what the program scored before, by name; on the valset,
            each left out of its own evidence.
        history: How it came about, for the frozen program.
        stopped: Why it ended early; "" if it did not.
        uncalibrated: Why the program has no probabilities; "" if it has.
    """

    program: InferRetrieveRank
    trials: Sequence[Trial]
    scores: Mapping[str, Scores]
    history: Mapping[str, str | int]
    stopped: str
    uncalibrated: str


def optimize(
    space: LabelSpace,
    train: Sequence[GoldRow],
    val: Sequence[GoldRow] | None = None,
    *,
    models: Students | None = None,
    task: TaskPack | str = "default",
    settings: Settings | None = None,
    optimizer: Optimizer = Optimizer.BOOTSTRAP,
    end_to_end: bool = False,
    budget: Budget | None = None,
    seed: int = 0,
    encoder: str | None = None,
    index_folder: str | Path | None = None,
    index_server: str | None = None,
    progress: Progress | None = None,
    on_trial: Callable[[Trial, int], None] = lambda trial, most: None,
) -> Optimized:
    """Optimizes a program for a label space.

    Hyperparameters that need no language model are tuned on all examples, each left out of its own evidence,
    and from 30 examples on the weights of the features are fitted to them.
    Prompts are made from `train` and chosen by `val`: infer's by recall@50 of the candidates, then rank's by
    RP@10.

    Args:
        space: The label space.
        train: The trainset.
        val: The valset, which decides what is kept; half of `train` if None.
        models: The language models, and their teachers.
        task: What they are told to begin with.
        settings: The hyperparameters to begin with.
        optimizer: How prompts are optimized.
        end_to_end: Whether infer and rank are optimized together, by RP@10.
        budget: What it may cost; it can be stopped from another thread, or by a signal.
        seed: The same seed, examples and models give the same program.
        encoder: Name or folder of a sentence-transformers model.
        index_folder: Where indexes are kept; the user's cache folder if None.
        index_server: URL of a Chroma server that holds the vectors of label entries, for many to share.
        progress: Called with (entries done, entries in all) while an index is built.
        on_trial: Called with each trial, and with about how many trials its step takes.

    Raises:
        UsageError: If there are too few examples, or the options do not fit together.
    """
    train, val = split(train, seed) if val is None else (list(train), list(val))
    models = models or Students()
    check_examples(train, val)
    students = _capabilities(models.infer, models.rank)
    teachers = _capabilities(models.infer_teacher, models.rank_teacher)
    check_models(optimizer, end_to_end, students, teachers)
    budget = budget or Budget()
    settings = settings or Settings()
    task = load_task(task) if isinstance(task, str) else task
    sentence_encoder = SentenceEncoder(encoder) if encoder else SentenceEncoder()
    root = Path(index_folder) if index_folder else default_index_folder()
    index = open_index(space, sentence_encoder, settings.retrieve.fields, root, progress, index_server)
    scorer = Scorer(index, sentence_encoder, train, val)
    trials: list[Trial] = []

    def tell(trial: Trial, most: int) -> None:
        trials.append(trial)
        on_trial(trial, most)

    counted = _counted(models, budget)
    given = Plan(settings, task, counted.infer, counted.rank, examples=False)
    scores = {"before": _scores(scorer, given, budget)}
    if budget.silent:
        raise LMUnavailableError("down", budget.reason, "start it again, and repeat the call")
    rows = [*scorer.train, *scorer.val]
    plan = tune(scorer, Plan(settings, task), rows, budget, tell)
    plan = combine(scorer, plan, rows, seed, tell)
    improver = Improver(scorer, counted, optimizer, budget, seed, tell)
    for step in _steps(counted, end_to_end):
        plan = improver.improve(plan, step)
    scores["after"] = _scores(scorer, plan, budget)
    best = partial(
        assemble,
        index,
        sentence_encoder,
        plan.settings,
        task=plan.task,
        combination=plan.combination,
        examples=scorer.examples if _uses_examples(plan) else (),
    )
    program = best(
        infer_lm=models.infer if plan.infer_lm else None, rank_lm=models.rank if plan.rank_lm else None
    )
    uncalibrated = ""
    try:
        rows = [*scorer.train, *scorer.val]
        with budget.trial(len(rows)):
            metered = best(infer_lm=plan.infer_lm, rank_lm=plan.rank_lm)
            found = calibrate(metered, rows, index_folder=root).calibration
        program = replace(program, calibration=found)
    except UsageError as e:
        uncalibrated = e.message
    except Stopped:
        uncalibrated = budget.reason
    history: dict[str, str | int] = {
        "optimizer": str(optimizer) if models != Students() else str(Optimizer.NONE),
        "seed": seed,
        "train": len(train),
        "val": len(val),
        "calls": budget.usage.calls,
        "prompt_tokens": budget.usage.prompt_tokens,
        "completion_tokens": budget.usage.completion_tokens,
    }
    known = {name: found for name, found in scores.items() if found is not None}
    return Optimized(program, trials, known, history, budget.reason, uncalibrated)


def split(rows: Sequence[GoldRow], seed: int) -> tuple[list[GoldRow], list[GoldRow]]:
    """Two random halves of the examples: a trainset and a valset."""
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    half = len(shuffled) // 2
    return shuffled[:half], shuffled[half:]


def check_examples(train: Sequence[GoldRow], val: Sequence[GoldRow]) -> None:
    """Checks that there is enough to work with.

    Raises:
        UsageError: If there is not.
    """
    for rows, what in ((train, "trainset"), (val, "valset")):
        if sum(bool(row.labels) for row in rows) < _FEWEST // 2:
            hint = f"give at least {_FEWEST}, better 60, with labels"
            raise UsageError(f"too few examples in the {what}", hint)


def check_models(
    optimizer: Optimizer,
    end_to_end: bool,
    stages: Sequence[Capabilities | None],
    teachers: Sequence[Capabilities | None],
) -> None:
    """Checks that the models of infer and rank, and their teachers, can do what is asked of them.

    Raises:
        UsageError: If they cannot.
        MissingExtraError: If the optimizer needs a package that is not installed.
    """
    if end_to_end and not all(stages):
        raise UsageError("end to end means both stages", "give --lm, or --infer-lm and --rank-lm")
    for stage, teacher in zip(stages, teachers, strict=True):
        if stage:
            check_optimizer(optimizer, teacher or stage)


def _capabilities(*models: LanguageModel | None) -> list[Capabilities | None]:
    return [model.capabilities if model else None for model in models]


def _steps(models: Students, end_to_end: bool) -> list[str]:
    if end_to_end:
        return [BOTH]
    return [step for step, model in ((INFER, models.infer), (RANK, models.rank)) if model]


def _counted(models: Students, budget: Budget) -> Students:
    """The same models within the budget, one and the same where they are."""
    known: dict[int, LanguageModel] = {}

    def one(model: LanguageModel | None) -> LanguageModel | None:
        return known.setdefault(id(model), MeteredModel(model, budget)) if model else None

    return Students(one(models.infer), one(models.rank), one(models.infer_teacher), one(models.rank_teacher))


def _scores(scorer: Scorer, plan: Plan, budget: Budget) -> Scores | None:
    """What a plan scores on the valset; None where that would cost more than is left."""
    try:
        with budget.trial(len(scorer.val)):
            report = evaluate(scorer.program(plan), scorer.val)
    except Stopped:
        return None
    return Scores(texts=report.texts, metrics=report.metrics)


def _uses_examples(plan: Plan) -> bool:
    """Whether the answers of a plan depend on its examples."""
    settings = plan.settings
    near = settings.infer.near_demos + settings.rank.near_demos
    return bool(settings.retrieve.example_weight or near or plan.combination.reads_examples)
