"""Optimizes prompts stage by stage with DSPy, and leaves out language models that do not pay."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from enum import StrEnum
from io import StringIO
from typing import TYPE_CHECKING, Any

from irr.config import HYPERPARAMETERS, RankMethod
from irr.errors import NO_ANSWER, BudgetSpentError
from irr.evaluation.metrics import METRICS
from irr.index.examples import demo_of
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.lm.cache import Budget
from irr.lm.protocol import LanguageModel
from irr.program.program import InferRetrieveRank
from irr.program.stages import rank_method
from irr.prompts.chat import numbered
from irr.prompts.pack import Demo, TaskPack
from irr.statistics import lower_bound
from irr.tune.tuning import OnTrial, Plan, Scorer, Values, scored
from irr.types import Example

if TYPE_CHECKING:
    from irr.program.dspy_module import ProgramModule

logger = logging.getLogger(__name__)

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
# The score that makes a teacher's run a demo.
_GOOD_ENOUGH = 0.5
_DEMOS = 4
# Candidates in a labelled demo for ranking.
_DEMO_CANDIDATES = 12
_CANDIDATE_PROGRAMS = 8
# About the number of prompts that an optimizer scores on the whole valset.
TRIALS = 12
# Failures of a model become fallbacks, so that one error is a defect and ends the search.
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
class PromptSearch:
    """Improves a plan stage by stage; a stage that does not improve the score on the valset is left out.

    `models` are those of infer and rank, and `teachers` write the demos and instructions for them.
    """

    scorer: Scorer
    models: tuple[LanguageModel | None, LanguageModel | None]
    teachers: tuple[LanguageModel | None, LanguageModel | None]
    optimizer: Optimizer
    budget: Budget
    seed: int
    on_trial: OnTrial

    def improve(self, plan: Plan, step: str) -> Plan:
        """Returns the plan with this stage's model and its best prompts, or the plan if it is as good."""
        values = self._try(plan, step, "without")
        if values is None:
            return plan
        found: list[tuple[Plan, Values]] = []
        infer_lm = self.models[0] if step in (INFER, BOTH) else plan.infer_lm
        rank_lm = self.models[1] if step in (RANK, BOTH) else plan.rank_lm
        start = replace(plan, infer_lm=infer_lm, rank_lm=rank_lm)
        for what, other in self._variants(start, step):
            others = self._try(other, step, what)
            if others is not None:
                found.append((other, others))
        if not found:
            return plan
        best, score = max(found, key=lambda item: item[1].mean())
        for what, weighted in self._weights(best, step):
            others = self._try(weighted, step, what)
            # The best of several weights is overestimated, so that it must be better beyond luck.
            if others is not None and lower_bound(others - score) > 0:
                best, score = weighted, others
        return best if score.mean() > values.mean() else plan

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
        predictors = step.split("+")
        program = self.scorer.program(student)
        before = self.scorer.program(
            replace(plan, infer_lm=plan.infer_lm if step == RANK else None, rank_lm=None)
        )
        valset = dspy_examples(before, self.scorer.val, "val")
        log = TrialLog(program.space, metric, [example.key for example in valset], completed)
        trainset = dspy_examples(before, self.scorer.train, "train")
        modules = [ProgramModule(one, predictors) for one in (program, self.scorer.program(teacher))]
        self._compile(modules[0], modules[1], log, {"trainset": trainset, "valset": valset})
        return log.best()[:_BEST]

    def _compile(
        self, student: ProgramModule, teacher: ProgramModule, log: TrialLog, examples: dict[str, list[Any]]
    ) -> None:
        """Runs the optimizer until it or the budget ends; the log holds the prompts that it tried.

        The teacher is the student's program on the teachers' models; its last one writes instructions. Demos
        are made of the trainset, and the valset decides between prompts.
        """
        import dspy

        from irr.program.dspy_module import as_lm_error, dspy_model

        models = student.program.models.language_models
        threads = min(_MOST_THREADS, *(model.concurrency for model in models))
        writer = teacher.program.models.language_models[-1]
        lm = dspy_model(writer, temperature=1.0, seed=self.seed, max_tokens=4_000)
        every: dict[str, Any] = {"metric": log, "num_threads": threads}
        demos = {"max_bootstrapped_demos": _DEMOS, "max_labeled_demos": _DEMOS}
        of_demos = {**every, **demos, "metric_threshold": _GOOD_ENOUGH, "max_errors": _ERRORS}
        options: dict[str, Any] = {"teacher": teacher}
        budget = self.budget
        try:
            with _quiet(), dspy.context(lm=lm, disable_history=True, num_threads=threads, max_errors=_ERRORS):
                match self.optimizer:
                    case Optimizer.BOOTSTRAP:
                        random.Random(self.seed).shuffle(examples["trainset"])
                        of_demos["num_candidate_programs"] = _CANDIDATE_PROGRAMS
                        search = dspy.BootstrapFewShotWithRandomSearch(**of_demos)
                    case Optimizer.MIPRO:
                        # MIPROv2 reads a seed of 0 as none.
                        of_demos |= {"num_candidates": _CANDIDATE_PROGRAMS, "seed": self.seed + 1}
                        search = dspy.MIPROv2(auto=None, prompt_model=lm, task_model=lm, **of_demos)
                        options |= {"num_trials": TRIALS, "minibatch": False}
                    case _:
                        calls = TRIALS * len(examples["valset"])
                        search = dspy.GEPA(reflection_lm=lm, max_metric_calls=calls, seed=self.seed, **every)
                        options = {}
                search.compile(student, **examples, **options)
        except Exception as e:
            if not budget.failure and (defects := [*student.defects, *teacher.defects]):
                raise defects[0] from e
            if not (budget.failure or budget.reason):  # otherwise DSPy was interrupted
                logger.warning("%s ended early: %s", self.optimizer, as_lm_error(e))
        if budget.failure:
            raise budget.failure

    def _demo_sets(self, plan: Plan) -> Iterator[TaskPack]:
        """The task with random demos of the trainset for rank."""
        space = self.scorer.index.space
        pool = [demo_of(Example(text=row.text, labels=row.labels), space) for row in self.scorer.train]
        draw = random.Random(self.seed)
        for _ in range(_DEMO_SETS if pool else 0):
            demos = tuple(draw.sample(pool, min(_DEMOS_A_SET, len(pool))))
            rank = plan.task.rank.model_copy(update={"demos": demos})
            yield plan.task.model_copy(update={"rank": rank})


class TrialLog:
    """The metric that optimizers call; it logs every prompt that they try with its scores on the valset.

    A prompt is complete when all examples of the valset, by their keys, are scored. The log holds the prompts
    of an optimizer that is stopped.
    """

    def __init__(
        self,
        space: LabelSpace,
        metric: str,
        keys: Sequence[str],
        on_complete: Callable[[TaskPack, list[float]], None],
    ) -> None:
        self._space = space
        self._metric = METRICS[metric]
        self._keys = frozenset(keys)
        self._on_complete = on_complete
        # The prompts and their scores by key, by the JSON of the prompts.
        self._tried: dict[str, tuple[TaskPack, dict[str, float]]] = {}
        self._lock = threading.Lock()

    def __call__(
        self, example: Any, prediction: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
    ) -> Any:
        """The metric as DSPy's optimizers call it: a score, with feedback for a single predictor."""
        import dspy

        labels = prediction["labels"]
        score = self._metric(labels, set(example.gold))
        if pred_name is not None:
            return dspy.Prediction(score=score, feedback=self._feedback(example.gold, labels))
        answered = not any(fallback.code in NO_ANSWER for fallback in prediction["prediction"].fallbacks)
        if example.key in self._keys and answered:
            self._add(prediction._module.task(), example.key, score)
        return score

    def best(self) -> list[TaskPack]:
        """The complete prompts, best first."""
        complete = [tried for tried in self._tried.values() if len(tried[1]) == len(self._keys)]
        return [task for task, _ in sorted(complete, key=lambda tried: -sum(tried[1].values()))]

    def _add(self, task: TaskPack, key: str, score: float) -> None:
        with self._lock:
            _, scores = self._tried.setdefault(task.model_dump_json(), (task, {}))
            new = key not in scores
            scores[key] = score
            complete = new and len(scores) == len(self._keys)
        if complete:
            self._on_complete(task, list(scores.values()))

    def _feedback(self, gold: Sequence[str], labels: Sequence[str]) -> str:
        """The found, missed and wrong labels of an answer in words."""
        top = labels[: max(10, len(gold))]
        names = {label: self._space[self._space.number_of[label]].name for label in {*gold, *top}}
        groups = {
            "Right and found": [names[label] for label in gold if label in top],
            "Right but missed": [names[label] for label in gold if label not in top],
            "Wrong among the first": [names[label] for label in top[:5] if label not in gold],
        }
        return " ".join(f"{title}: {'; '.join(group) or 'none'}." for title, group in groups.items())


def dspy_examples(program: InferRetrieveRank, rows: Sequence[GoldRow], name: str) -> list[Any]:
    """Rows with gold as DSPy examples with keys that begin with `name`.

    Their fields are a labelled demo of either stage, whose candidates the program finds, without ranking.
    """
    import dspy

    examples = []
    predictions = program.batch([row.text for row in rows], trace=True)
    for number, (row, prediction) in enumerate(zip(rows, predictions, strict=True)):
        demo = demo_of(Example(text=row.text, labels=row.labels), program.space)
        candidates = prediction.trace.candidates if prediction.trace else ()
        names = dict.fromkeys(candidate.label.name for candidate in candidates)
        others = [other for other in names if other not in demo.terms]
        listed = sorted([*demo.terms, *others[: max(3, _DEMO_CANDIDATES - len(demo.terms))]])
        example = dspy.Example(
            key=f"{name} {number}",
            gold=row.labels,
            text=row.text,
            terms=list(demo.terms),
            candidates=numbered(listed),
            ranking=[listed.index(term) + 1 for term in demo.terms],
        )
        examples.append(example.with_inputs("text"))
    return examples


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps DSPy's prints and logs off standard output and error."""
    loud = [logging.getLogger(name) for name in ("dspy", "gepa", "optuna")]
    levels = [logger.level for logger in loud]
    for each in loud:
        each.setLevel(logging.CRITICAL)
    with redirect_stdout(StringIO()):
        yield
    # After an error they stay quiet, because threads of DSPy may go on for a while.
    for each, level in zip(loud, levels, strict=True):
        each.setLevel(level)
