"""Optimizes a program on tens of examples: hyperparameters first, then prompts."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from irr.calibrate.fit import calibrate
from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import BudgetSpentError, LMUnavailableError, UsageError
from irr.evaluate.evaluate import Evaluation, evaluate
from irr.frozen.manifest import Scores
from irr.hub import cache_folder
from irr.index.store import open_index
from irr.index.vectors import Progress
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.lm.cache import Budget, CachedModel
from irr.lm.protocol import Capabilities, LanguageModel
from irr.optimize.dspy_search import Optimizer, check_optimizer
from irr.optimize.prompt_search import BOTH, INFER, RANK, Improver, Students
from irr.optimize.scorer import Plan, Scorer, Trial
from irr.optimize.tuning import combine, tune
from irr.program.program import InferRetrieveRank
from irr.prompts.pack import TaskPack, load_task
from irr.statistics import Difference, paired_bootstrap

_FEWEST = 4


@dataclass(frozen=True)
class Optimized:
    """The result of an optimization.

    Attributes:
        program: The best program found.
        trials: All trials, in order.
        scores: The scores on the valset before and after, by name; no example is evidence for itself.
        gain: RP@10 on the valset after, against before; None if the budget did not suffice for both.
        of_train: RP@10 on the valset with the trainset as examples, against the valset's own examples alone,
            no language model being asked; None if the program reads no examples.
        history: Facts about the optimization, for the frozen program.
        stopped: The reason why it ended early; "" if it did not.
        uncalibrated: The reason why the program has no probabilities; "" if it has them.
    """

    program: InferRetrieveRank
    trials: Sequence[Trial]
    scores: Mapping[str, Scores]
    gain: Difference | None
    of_train: Difference | None
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

    Hyperparameters that need no language model are tuned on all examples, none of which is evidence for
    itself; with 30 examples or more, the weights of the features are fitted to them. Prompts are made from
    `train` and chosen by `val`: infer's by recall@50 of the candidates, then rank's by RP@10.

    Args:
        space: The label space.
        train: The trainset.
        val: The valset, by which programs are chosen; half of `train` if None.
        models: The language models, and their teachers.
        task: The task pack to start from.
        settings: The settings to start from.
        optimizer: How prompts are optimized.
        end_to_end: Whether infer and rank are optimized together, by RP@10.
        budget: The budget, which can be stopped from another thread or by a signal.
        seed: The same seed, examples and models give the same program.
        encoder: Name or folder of a sentence-transformers model.
        index_folder: The folder of indexes; the user's cache folder if None.
        index_server: URL of a Chroma server that holds the vectors of label entries, for many to share.
        progress: Called with (entries done, entries in all) while an index is built.
        on_trial: Called with each trial, and with the expected number of trials of its step.

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
    root = Path(index_folder) if index_folder else cache_folder("indexes")
    index = open_index(space, sentence_encoder, settings.retrieve.fields, root, progress, index_server)
    scorer = Scorer(index, sentence_encoder, train, val)
    trials: list[Trial] = []

    def tell(trial: Trial, most: int) -> None:
        trials.append(trial)
        on_trial(trial, most)

    counted = _counted(models, budget)
    given = Plan(settings, task, counted.infer, counted.rank, examples=False)
    before = _evaluated(scorer, given, budget)
    if budget.silent:
        raise LMUnavailableError("down", budget.reason, "start it again, and repeat the call")
    rows = [*scorer.train, *scorer.val]
    plan = tune(scorer, Plan(settings, task), rows, budget, tell)
    plan = combine(scorer, plan, rows, seed, tell)
    improver = Improver(scorer, counted, optimizer, budget, seed, tell)
    for step in _steps(counted, end_to_end):
        plan = improver.improve(plan, step)
    after = _evaluated(scorer, plan, budget)
    of_train = _gain_of_train(scorer, plan) if _uses_examples(plan) else None
    best = replace(plan, examples=_uses_examples(plan))
    infer_lm, rank_lm = (
        given if chosen else None
        for given, chosen in ((models.infer, plan.infer_lm), (models.rank, plan.rank_lm))
    )
    program = scorer.final(replace(best, infer_lm=infer_lm, rank_lm=rank_lm))
    uncalibrated = ""
    try:
        with budget.trial(len(rows)):
            found = calibrate(scorer.final(best), rows).calibration
        program = program.calibrated(found)
    except UsageError as e:
        uncalibrated = e.message
    except BudgetSpentError:
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
    known = {
        name: Scores(texts=found.texts, metrics=found.metrics)
        for name, found in (("before", before), ("after", after))
        if found is not None
    }
    return Optimized(
        program, trials, known, _gain(before, after), of_train, history, budget.reason, uncalibrated
    )


def split(rows: Sequence[GoldRow], seed: int) -> tuple[list[GoldRow], list[GoldRow]]:
    """Two random halves of the examples: a trainset and a valset."""
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    half = len(shuffled) // 2
    return shuffled[:half], shuffled[half:]


def check_examples(train: Sequence[GoldRow], val: Sequence[GoldRow]) -> None:
    """Checks that there are enough examples.

    Raises:
        UsageError: If there are too few.
    """
    for rows, what in ((train, "trainset"), (val, "valset")):
        if sum(bool(row.labels) for row in rows) < _FEWEST // 2:
            hint = f"give at least {_FEWEST} with labels, better 60"
            raise UsageError(f"too few examples in the {what}", hint)


def check_models(
    optimizer: Optimizer,
    end_to_end: bool,
    stages: Sequence[Capabilities | None],
    teachers: Sequence[Capabilities | None],
) -> None:
    """Checks that the models of infer and rank, and their teachers, suit the optimizer.

    Raises:
        UsageError: If they do not.
        MissingExtraError: If the optimizer needs a package that is not installed.
    """
    if end_to_end and not all(stages):
        raise UsageError("--end-to-end needs models for both stages", "give --lm or both of them")
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
    """The models within the budget; one object for one model."""
    known: dict[int, LanguageModel] = {}

    def one(model: LanguageModel | None) -> LanguageModel | None:
        return known.setdefault(id(model), CachedModel(model, budget)) if model else None

    return Students(one(models.infer), one(models.rank), one(models.infer_teacher), one(models.rank_teacher))


def _evaluated(scorer: Scorer, plan: Plan, budget: Budget) -> Evaluation | None:
    """A plan's evaluation on the valset; None if the budget does not suffice."""
    try:
        with budget.trial(len(scorer.val)):
            return evaluate(scorer.program(plan), scorer.val)
    except BudgetSpentError:
        return None


def _gain(before: Evaluation | None, after: Evaluation | None) -> Difference | None:
    """The gain in RP@10."""
    if before is None or after is None:
        return None
    return paired_bootstrap(after.per_text.scores["rp@10"], before.per_text.scores["rp@10"])


def _gain_of_train(scorer: Scorer, plan: Plan) -> Difference:
    """RP@10 on the valset with all examples against those of the valset alone."""
    plan = replace(plan, infer_lm=None, rank_lm=None)
    alone = Scorer(scorer.index, scorer.encoder, [], scorer.val)
    ours, theirs = (one.values(plan, scorer.val).tolist() for one in (scorer, alone))
    return paired_bootstrap(ours, theirs)


def _uses_examples(plan: Plan) -> bool:
    """Whether the answers of a plan depend on its examples."""
    settings = plan.settings
    near = settings.infer.near_demos + settings.rank.near_demos
    return bool(settings.retrieve.example_weight or near or plan.combination.reads_examples)
