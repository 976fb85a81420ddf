"""Optimizes a program on tens of examples: hyperparameters first, then prompts."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import NamedTuple

from irr.calibrate.fit import calibrate
from irr.errors import BudgetSpentError, LMUnavailableError, MissingExtraError, UsageError
from irr.evaluate.evaluate import RankingScores, score_rankings
from irr.frozen.folder import Scores
from irr.io.texts import GoldRow
from irr.lm.cache import Budget, CachedModel
from irr.lm.protocol import Capabilities, LanguageModel
from irr.optimize.prompt_search import BOTH, INFER, RANK, Optimizer, PromptSearch
from irr.optimize.tuning import Plan, Scorer, Trial, combine, tune
from irr.program.program import InferRetrieveRank
from irr.prompts.pack import load_task
from irr.statistics import Difference, paired_bootstrap

_FEWEST = 4


class Teachers(NamedTuple):
    """Stronger language models that write the demos and instructions of the stages; None for their own."""

    infer: LanguageModel | None = None
    rank: LanguageModel | None = None


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
    program: InferRetrieveRank,
    trainset: Sequence[GoldRow],
    valset: Sequence[GoldRow] | None = None,
    *,
    optimizer: Optimizer = Optimizer.BOOTSTRAP,
    teachers: Teachers | None = None,
    end_to_end: bool = False,
    budget: Budget | None = None,
    seed: int = 0,
    on_trial: Callable[[Trial, int], None] = lambda trial, most: None,
) -> Optimized:
    """Optimizes a program.

    Hyperparameters that need no language model are tuned on all examples, none of which is evidence for
    itself; with 30 examples or more, the weights of the features are fitted to them. Prompts are made from
    the trainset and chosen by the valset: infer's by recall@50 of the candidates, then rank's by RP@10.

    Args:
        program: The program to start from; the examples take the place of its own.
        trainset: Texts with gold.
        valset: Texts with gold by which programs are chosen; half of the trainset if None.
        optimizer: How prompts are optimized.
        teachers: The models that write demos and instructions; the program's own if None.
        end_to_end: Whether infer and rank are optimized together, by RP@10.
        budget: The budget, which can be stopped from another thread or by a signal.
        seed: The same seed, examples and models give the same program.
        on_trial: Called with each trial, and with the expected number of trials of its step.

    Raises:
        UsageError: If there are too few examples, or the options do not fit together.
    """
    train, val = split(trainset, seed) if valset is None else (list(trainset), list(valset))
    for examples, name in ((train, "trainset"), (val, "valset")):
        if sum(bool(row.labels) for row in examples) < _FEWEST // 2:
            hint = f"give at least {_FEWEST} with labels, better 60"
            raise UsageError(f"too few examples in the {name}", hint)
    students = program.models.infer_lm, program.models.rank_lm
    teachers = teachers or Teachers()
    abilities = [model.capabilities if model else None for model in (*students, *teachers)]
    check_models(optimizer, end_to_end, abilities[:2], abilities[2:])
    budget = budget or Budget()
    scorer = Scorer(program.index, program.encoder, train, val)
    trials: list[Trial] = []

    def add_trial(trial: Trial, most: int) -> None:
        trials.append(trial)
        on_trial(trial, most)

    cached: dict[int, LanguageModel] = {}
    infer_lm, rank_lm, *writers = (
        cached.setdefault(id(model), CachedModel(model, budget)) if model else None
        for model in (*students, *teachers)
    )
    start = Plan(program.settings, program.spec.task or load_task("default"), program.spec.combination)
    before = _evaluated(scorer, replace(start, infer_lm=infer_lm, rank_lm=rank_lm, examples=False), budget)
    if budget.silent:
        raise LMUnavailableError("down", budget.reason, "start it again, and repeat the call")
    rows = [*scorer.train, *scorer.val]
    plan = combine(scorer, tune(scorer, start, rows, budget, add_trial), rows, seed, add_trial)
    search = PromptSearch(scorer, (infer_lm, rank_lm), Teachers(*writers), optimizer, budget, seed, add_trial)
    stages = [step for step, model in ((INFER, infer_lm), (RANK, rank_lm)) if model]
    for step in [BOTH] if end_to_end else stages:
        plan = search.improve(plan, step)
    after = _evaluated(scorer, plan, budget)
    of_train = _gain_of_train(scorer, plan) if plan.uses_examples else None
    plan = replace(plan, examples=plan.uses_examples)
    infer_lm, rank_lm = plan.infer_lm and students[0], plan.rank_lm and students[1]
    found = scorer.final(replace(plan, infer_lm=infer_lm, rank_lm=rank_lm))
    uncalibrated = ""
    try:
        with budget.trial(len(rows)):
            found = found.calibrated(calibrate(scorer.final(plan), rows).calibration)
    except UsageError as e:
        uncalibrated = e.message
    except BudgetSpentError:
        uncalibrated = budget.reason
    history: dict[str, str | int] = {
        "optimizer": str(optimizer if cached else Optimizer.NONE),
        "seed": seed,
        "train": len(train),
        "val": len(val),
        "calls": budget.usage.calls,
        "prompt_tokens": budget.usage.prompt_tokens,
        "completion_tokens": budget.usage.completion_tokens,
    }
    evaluated = {"before": before, "after": after}
    scores = {n: Scores(texts=one.texts, metrics=one.metrics) for n, one in evaluated.items() if one}
    gain = None
    if before and after:
        gain = paired_bootstrap(after.per_text.scores["rp@10"], before.per_text.scores["rp@10"])
    return Optimized(found, trials, scores, gain, of_train, history, budget.reason, uncalibrated)


def split(rows: Sequence[GoldRow], seed: int) -> tuple[list[GoldRow], list[GoldRow]]:
    """Two random halves of the examples: a trainset and a valset."""
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    half = len(shuffled) // 2
    return shuffled[:half], shuffled[half:]


def check_models(
    optimizer: Optimizer,
    end_to_end: bool,
    stages: Sequence[Capabilities | None],
    teachers: Sequence[Capabilities | None],
) -> None:
    """Checks that the optimizer can run, and that the models of infer and rank or their teachers suit it."""
    if end_to_end and not all(stages):
        raise UsageError("end_to_end needs models for both stages", "give infer_lm and rank_lm")
    writers = [teacher or stage for stage, teacher in zip(stages, teachers, strict=True) if stage]
    if writers and optimizer is Optimizer.MIPRO and not find_spec("optuna"):
        raise MissingExtraError("mipro needs optuna", "pip install 'irr[optimize]'")
    if optimizer in (Optimizer.MIPRO, Optimizer.GEPA) and not all(one.writes_instructions for one in writers):
        hint = "give a teacher on a server, or use the optimizer bootstrap"
        raise UsageError(f"{optimizer} needs a model that can write instructions", hint)


def _evaluated(scorer: Scorer, plan: Plan, budget: Budget) -> RankingScores | None:
    """A plan's evaluation on the valset; None if the budget does not suffice."""
    try:
        with budget.trial(len(scorer.val)):
            return score_rankings(scorer.program(plan), scorer.val)
    except BudgetSpentError:
        return None


def _gain_of_train(scorer: Scorer, plan: Plan) -> Difference:
    """RP@10 on the valset with all examples against those of the valset alone."""
    plan = replace(plan, infer_lm=None, rank_lm=None)
    alone = Scorer(scorer.index, scorer.encoder, [], scorer.val)
    return paired_bootstrap(scorer.values(plan, scorer.val), alone.values(plan, scorer.val))
