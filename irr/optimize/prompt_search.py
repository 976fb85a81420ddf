"""Optimizes prompts stage by stage, and leaves out language models that do not pay."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from irr.config import HYPERPARAMETERS, RankMethod
from irr.errors import BudgetSpentError
from irr.index.examples import demo_of
from irr.lm.cache import Budget
from irr.lm.protocol import LanguageModel
from irr.optimize.dspy_search import TRIALS, Optimizer, Search, TrialLog, dspy_examples
from irr.optimize.scorer import Plan, Scorer, Trial, Values, scored
from irr.program.stages import rank_method
from irr.prompts.pack import Demo, TaskPack
from irr.statistics import lower_bound
from irr.types import Example

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
class PromptSearch:
    """Improves a plan stage by stage; a stage that does not improve the score on the valset is left out.

    Attributes:
        scorer: Scores plans.
        models: The models of infer and rank.
        teachers: The models that write demos and instructions of infer and rank; None for their own.
        optimizer: How prompts are optimized.
        budget: Says when to stop.
        seed: The seed of random choices.
        on_trial: Called with each trial, and with the expected number of trials of its step.
    """

    scorer: Scorer
    models: tuple[LanguageModel | None, LanguageModel | None]
    teachers: tuple[LanguageModel | None, LanguageModel | None]
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
            infer_lm=self.models[0] if step in (INFER, BOTH) else plan.infer_lm,
            rank_lm=self.models[1] if step in (RANK, BOTH) else plan.rank_lm,
        )

    def _try(self, plan: Plan, step: str, what: str) -> Values | None:
        """The plan's values; None if the budget is spent or the model does not answer."""
        metric = _METRIC[step]
        try:
            with self.budget.trial(len(self.scorer.val)):
                values = self.scorer.values(plan, self.scorer.val, metric)
        except BudgetSpentError:
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
        from irr.program.dspy_module import ProgramModule

        metric = _METRIC[step]

        def completed(task: TaskPack, values: list[float]) -> None:
            demos: tuple[Demo, ...] = (task.infer if step == INFER else task.rank).demos or ()
            what = f"{self.optimizer}, {len(demos)} demos"
            self.on_trial(scored(step, what, metric, values, self.budget.usage.calls), self._most(step))

        # The model to rank is left out where infer alone is optimized.
        student = replace(plan, rank_lm=None) if step == INFER else plan
        teacher = replace(
            student,
            infer_lm=(step != RANK and self.teachers[0]) or student.infer_lm,
            rank_lm=student.rank_lm and (self.teachers[1] or student.rank_lm),
        )
        writer = teacher.rank_lm or teacher.infer_lm
        assert writer is not None
        predictors = step.split("+")
        program = self.scorer.program(student)
        before = self.scorer.program(
            replace(plan, infer_lm=plan.infer_lm if step == RANK else None, rank_lm=None)
        )
        valset = dspy_examples(before, self.scorer.val, "val")
        log = TrialLog(program.space, metric, [example.key for example in valset], completed)
        search = Search(
            self.optimizer,
            student=ProgramModule(program, predictors),
            teacher=ProgramModule(self.scorer.program(teacher), predictors),
            writer=writer,
            trainset=dspy_examples(before, self.scorer.train, "train"),
            valset=valset,
            threads=min(_MOST_THREADS, *(model.concurrency for model in program.models.language_models)),
            seed=self.seed,
        )
        search.run(log, self.budget)
        return log.best()[:_BEST]

    def _demo_sets(self, plan: Plan) -> Iterator[TaskPack]:
        """The task with random demos of the trainset for rank."""
        space = self.scorer.index.space
        pool = [demo_of(Example(text=row.text, labels=row.labels), space) for row in self.scorer.train]
        draw = random.Random(self.seed)
        for _ in range(_DEMO_SETS if pool else 0):
            demos = tuple(draw.sample(pool, min(_DEMOS_A_SET, len(pool))))
            rank = plan.task.rank.model_copy(update={"demos": demos})
            yield plan.task.model_copy(update={"rank": rank})
