"""Optimizes prompts stage by stage with DSPy, and leaves out language models that do not pay."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from enum import StrEnum
from io import StringIO
from typing import TYPE_CHECKING, Any

from irr.config import HYPERPARAMETERS, RankMethod
from irr.errors import MissingExtraError, UsageError
from irr.index.examples import demo_of
from irr.lm.base import Capabilities, LanguageModel
from irr.lm.budget import Budget, Stopped
from irr.optimize.scorer import Plan, Scorer, Trial, Values, scored
from irr.program.stages import rank_method
from irr.prompts.pack import Demo, TaskPack
from irr.statistics import lower_bound
from irr.types import Example

if TYPE_CHECKING:
    from irr.optimize.dspy_program import StageProgram, TrialLog

logger = logging.getLogger(__name__)

# The score that makes a teacher's run a demo.
_GOOD_ENOUGH = 0.5
_DEMOS = 4
_CANDIDATES = 8
# About the number of prompts that an optimizer scores on the whole valset.
TRIALS = 12
# Failures of a model are handled before, so that one error is a defect and ends the search.
_ERRORS = 1


class Optimizer(StrEnum):
    """The optimizer of prompts.

    `bootstrap`: demos from a teacher's own good answers, and random search over sets of them
    (DSPy's BootstrapFewShotWithRandomSearch). `mipro`: instructions and demos together (MIPROv2, Opsahl-Ong
    et al. 2024, arXiv 2406.11695). `gepa`: instructions rewritten from feedback (Agrawal et al. 2025,
    arXiv 2507.19457). `none`: prompts stay as they are.
    """

    NONE = "none"
    BOOTSTRAP = "bootstrap"
    MIPRO = "mipro"
    GEPA = "gepa"


@dataclass(frozen=True)
class Search:
    """One run of an optimizer.

    Attributes:
        optimizer: The optimizer.
        student: The program whose prompts are optimized.
        teacher: The same program on the teachers' models.
        writer: The model that writes instructions.
        trainset: Examples with gold labels that demos are made of.
        valset: Examples with gold labels that decide between prompts.
        threads: Examples under way at a time.
        seed: The same seed gives the same prompts.
    """

    optimizer: Optimizer
    student: StageProgram
    teacher: StageProgram
    writer: LanguageModel
    trainset: Sequence[Any]
    valset: Sequence[Any]
    threads: int
    seed: int

    def run(self, log: TrialLog, budget: Budget) -> None:
        """Runs the optimizer; the log holds the prompts that it tried, even if it is stopped."""
        from irr.optimize.dspy_program import as_lm_error, dspy_model, prepare_dspy

        dspy = prepare_dspy()
        lm = dspy_model(self.writer, temperature=1.0, seed=self.seed, max_tokens=4_000)
        try:
            with (
                _quiet(),
                dspy.context(lm=lm, disable_history=True, num_threads=self.threads, max_errors=_ERRORS),
            ):
                self._compile(dspy, log, lm)
        except Stopped:
            pass
        except Exception as e:
            if not budget.failure and log.fixed.mistakes:
                raise log.fixed.mistakes[0] from e
            if not (budget.failure or budget.reason):  # otherwise DSPy was interrupted
                logger.warning("%s ended early: %s", self.optimizer, as_lm_error(e))
        if budget.failure:
            raise budget.failure

    def _compile(self, dspy: Any, log: TrialLog, lm: Any) -> None:
        trainset, valset = list(self.trainset), list(self.valset)
        every = {"metric": log, "num_threads": self.threads}
        of_demos = {
            **every,
            "metric_threshold": _GOOD_ENOUGH,
            "max_bootstrapped_demos": _DEMOS,
            "max_labeled_demos": _DEMOS,
            "max_errors": _ERRORS,
        }
        match self.optimizer:
            case Optimizer.BOOTSTRAP:
                random.Random(self.seed).shuffle(trainset)
                search = dspy.BootstrapFewShotWithRandomSearch(num_candidate_programs=_CANDIDATES, **of_demos)
                options: dict[str, Any] = {"teacher": self.teacher}
            case Optimizer.MIPRO:
                # MIPROv2 reads a seed of 0 as none.
                models = {"prompt_model": lm, "task_model": lm, "seed": self.seed + 1}
                search = dspy.MIPROv2(auto=None, num_candidates=_CANDIDATES, **models, **of_demos)
                options = {"teacher": self.teacher, "num_trials": TRIALS, "minibatch": False}
            case _:
                calls = TRIALS * len(valset)
                search = dspy.GEPA(reflection_lm=lm, max_metric_calls=calls, seed=self.seed, **every)
                options = {}
        search.compile(self.student, trainset=trainset, valset=valset, **options)


def check_optimizer(optimizer: Optimizer, writer: Capabilities) -> None:
    """Checks that an optimizer can run.

    Raises:
        MissingExtraError: If it needs a package that is not installed.
        UsageError: If it needs a model that can write instructions.
    """
    if optimizer is Optimizer.MIPRO:
        from importlib.util import find_spec

        if not find_spec("optuna"):
            raise MissingExtraError("mipro needs optuna", "pip install 'irr[optimize]'")
    if optimizer in (Optimizer.MIPRO, Optimizer.GEPA) and not writer.writes_instructions:
        hint = "give --teacher-lm openai/MODEL, or use --optimizer bootstrap"
        raise UsageError(f"{optimizer} needs a model that can write instructions", hint)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps DSPy's prints and logs off standard output and error."""
    said = StringIO()
    loud = [logging.getLogger(name) for name in ("dspy", "gepa", "optuna")]
    levels = [logger.level for logger in loud]
    for each in loud:
        each.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(said):
            yield
    finally:
        for each, level in zip(loud, levels, strict=True):
            each.setLevel(level)
        for line in said.getvalue().splitlines():
            logger.debug("%s", line)


INFER, RANK, BOTH = "infer", "rank", "infer+rank"
_METRIC = {INFER: "recall@50", RANK: "rp@10", BOTH: "rp@10"}
# The best prompts of an optimizer that are tried in full.
_BEST = 3
_NEAR_DEMOS = 4
_DESCRIBED = 160
_TERM_WEIGHT = "retrieve.term_weight"
# Sets of demos that are tried for a method other than listwise.
_DEMO_SETS = 6
_DEMOS_A_SET = 5
_MOST_THREADS = 32


@dataclass(frozen=True)
class Students:
    """The language models of a program, and the stronger ones that write their demos and instructions."""

    infer: LanguageModel | None = None
    rank: LanguageModel | None = None
    infer_teacher: LanguageModel | None = None
    rank_teacher: LanguageModel | None = None


@dataclass(frozen=True)
class Improver:
    """Improves a plan stage by stage; a stage that does not improve the score on the valset is left out.

    Attributes:
        scorer: Scores plans.
        models: Students and teachers.
        optimizer: How prompts are optimized.
        budget: Says when to stop.
        seed: The seed of random choices.
        on_trial: Called with each trial, and with the expected number of trials of its step.
    """

    scorer: Scorer
    models: Students
    optimizer: Optimizer
    budget: Budget
    seed: int
    on_trial: Callable[[Trial, int], None]

    def improve(self, plan: Plan, step: str) -> Plan:
        """Returns the plan with this stage's model and its best prompts, or the plan if it is as good."""
        values = self._try(plan, step, "without")
        if values is None:
            return plan
        found: list[tuple[float, int, Plan, Values]] = []
        for order, (what, other) in enumerate(self._variants(self._with_models(plan, step), step)):
            others = self._try(other, step, what)
            if others is not None:
                found.append((float(others.mean()), -order, other, others))
        if not found:
            return plan
        *_, best, score = max(found, key=lambda item: item[:2])
        for what, weighted in self._weights(best, step):
            others = self._try(weighted, step, what)
            # The best of several weights is overestimated, so that it must be better beyond luck.
            if others is not None and lower_bound(others - score) > 0:
                best, score = weighted, others
        return best if score.mean() > values.mean() else plan

    def _with_models(self, plan: Plan, step: str) -> Plan:
        return replace(
            plan,
            infer_lm=self.models.infer if step in (INFER, BOTH) else plan.infer_lm,
            rank_lm=self.models.rank if step in (RANK, BOTH) else plan.rank_lm,
        )

    def _try(self, plan: Plan, step: str, what: str) -> Values | None:
        """The plan's values; None if the budget is spent or the model does not answer."""
        metric = _METRIC[step]
        try:
            with self.budget.trial(len(self.scorer.val)):
                values = self.scorer.values(plan, self.scorer.val, metric)
        except Stopped:
            return None
        self.on_trial(scored(step, what, metric, values, self.budget.usage.calls), self._most(step))
        return values

    def _most(self, step: str) -> int:
        """The expected number of trials of a step."""
        searched = 0 if self.optimizer is Optimizer.NONE else TRIALS + _BEST
        weights = [len(HYPERPARAMETERS[_TERM_WEIGHT])] if step in (INFER, BOTH) else []
        weights += [len(HYPERPARAMETERS["rank.listwise_weight"])] if step in (RANK, BOTH) else []
        return 2 + searched + len(weights) + sum(weights)

    def _variants(self, plan: Plan, step: str) -> Iterator[tuple[str, Plan]]:
        yield "prompts as given", plan
        for number, task in enumerate(self._search(plan, step), 1):
            yield f"prompts found, {number}", replace(plan, task=task)
        if step in (INFER, BOTH):
            yield f"{_NEAR_DEMOS} nearest examples in infer", plan.set({"infer.near_demos": _NEAR_DEMOS})
        if step in (RANK, BOTH):
            yield f"{_NEAR_DEMOS} nearest examples in rank", plan.set({"rank.near_demos": _NEAR_DEMOS})
            described = any(label.description for label in self.scorer.index.space)
            if described and self._method(plan) is RankMethod.LISTWISE:
                what = f"{_DESCRIBED} characters of descriptions in rank"
                yield what, plan.set({"rank.description_characters": _DESCRIBED})

    def _weights(self, plan: Plan, step: str) -> Iterator[tuple[str, Plan]]:
        names = [_TERM_WEIGHT] if step in (INFER, BOTH) else []
        if plan.rank_lm and step in (RANK, BOTH):
            names.append(f"rank.{self._method(plan)}_weight")
        for name in names:
            for weight in HYPERPARAMETERS[name]:
                if weight != plan.settings.flat()[name]:
                    yield f"{name}={weight:g}", plan.set({name: weight})

    def _method(self, plan: Plan) -> RankMethod:
        assert plan.rank_lm is not None
        return rank_method(plan.rank_lm, plan.settings)

    def _search(self, plan: Plan, step: str) -> Sequence[TaskPack]:
        if self.optimizer is Optimizer.NONE:
            return []
        if step != INFER and self._method(plan) is not RankMethod.LISTWISE:
            return list(self._demo_sets(plan))
        from irr.optimize.dspy_program import FixedStages, TrialLog, stage_program

        # DSPy runs the stage that is optimized; `fixed` holds the others.
        before = replace(plan, infer_lm=plan.infer_lm if step == RANK else None, rank_lm=None)
        fixed = FixedStages(self.scorer, before)
        metric = _METRIC[step]

        def completed(task: TaskPack, values: list[float]) -> None:
            what = f"{self.optimizer}, {_told(task, step)}"
            self.on_trial(scored(step, what, metric, values, self.budget.usage.calls), self._most(step))

        valset = [fixed.example(row, f"val {i}") for i, row in enumerate(self.scorer.val)]
        log = TrialLog(fixed, metric, [example.key for example in valset], plan.task, completed)
        students = self._of_step(step, self.models.infer, self.models.rank)
        teachers = self._of_step(
            step, self.models.infer_teacher or self.models.infer, self.models.rank_teacher or self.models.rank
        )
        writer = next(model for model in reversed(teachers) if model)
        search = Search(
            self.optimizer,
            student=stage_program(fixed, plan.task, plan.settings, *students),
            teacher=stage_program(fixed, plan.task, plan.settings, *teachers),
            writer=writer,
            trainset=[fixed.example(row, f"train {i}") for i, row in enumerate(self.scorer.train)],
            valset=valset,
            threads=min(_MOST_THREADS, min(model.concurrency for model in students if model)),
            seed=self.seed,
        )
        search.run(log, self.budget)
        return log.best()[:_BEST]

    @staticmethod
    def _of_step(step: str, infer: Any, rank: Any) -> tuple[Any, Any]:
        return (infer if step in (INFER, BOTH) else None, rank if step in (RANK, BOTH) else None)

    def _demo_sets(self, plan: Plan) -> Iterator[TaskPack]:
        """The task with random demos of the trainset for rank."""
        space = self.scorer.index.space
        pool = [demo_of(Example(text=row.text, labels=row.labels), space) for row in self.scorer.train]
        draw = random.Random(self.seed)
        for _ in range(_DEMO_SETS if pool else 0):
            demos = tuple(draw.sample(pool, min(_DEMOS_A_SET, len(pool))))
            rank = plan.task.rank.model_copy(update={"demos": demos})
            yield plan.task.model_copy(update={"rank": rank})


def _told(task: TaskPack, step: str) -> str:
    demos: tuple[Demo, ...] = (task.infer if step == INFER else task.rank).demos or ()
    return f"{len(demos)} demos"
