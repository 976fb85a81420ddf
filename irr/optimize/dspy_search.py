"""Runs DSPy's optimizers on a program's module, and logs every prompt that they try."""

from __future__ import annotations

import hashlib
import logging
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from enum import StrEnum
from io import StringIO
from typing import TYPE_CHECKING, Any

from irr.errors import NO_ANSWER, MissingExtraError, UsageError
from irr.evaluate.metrics import METRICS
from irr.index.examples import demo_of
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.lm.cache import Budget
from irr.lm.protocol import Capabilities, LanguageModel
from irr.program.program import InferRetrieveRank
from irr.prompts.pack import TaskPack
from irr.prompts.templates import numbered
from irr.types import Example

if TYPE_CHECKING:
    from irr.program.dspy_module import ProgramModule

logger = logging.getLogger(__name__)

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


class TrialLog:
    """The metric that optimizers call; it logs every prompt that they try with its scores on the valset.

    It holds the prompts of an optimizer that is stopped.

    Args:
        space: Names labels in feedback.
        metric: The metric's name.
        keys: The keys of the valset; a prompt is complete when all are scored.
        on_complete: Called with each complete prompt and its scores.
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
        self._scores: dict[str, dict[str, float]] = {}
        self._tasks: dict[str, TaskPack] = {}
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
        complete = [digest for digest, scores in self._scores.items() if len(scores) == len(self._keys)]
        complete.sort(key=lambda digest: -sum(self._scores[digest].values()))
        return [self._tasks[digest] for digest in complete]

    def _add(self, task: TaskPack, key: str, score: float) -> None:
        digest = hashlib.sha256(task.model_dump_json().encode()).hexdigest()
        with self._lock:
            self._tasks.setdefault(digest, task)
            scores = self._scores.setdefault(digest, {})
            new = key not in scores
            scores[key] = score
            complete = new and len(scores) == len(self._keys)
        if complete:
            self._on_complete(task, list(scores.values()))

    def _feedback(self, gold: Sequence[str], labels: Sequence[str]) -> str:
        """The found, missed and wrong labels of an answer in words."""
        top = labels[: max(10, len(gold))]
        names = {label: self._space[self._space.number_of[label]].name for label in {*gold, *top}}
        missed = [names[label] for label in gold if label not in top]
        found = [names[label] for label in gold if label in top]
        wrong = [names[label] for label in top[:5] if label not in gold]
        return (
            f"Right and found: {'; '.join(found) or 'none'}. "
            f"Right but missed: {'; '.join(missed) or 'none'}. "
            f"Wrong among the first: {'; '.join(wrong) or 'none'}."
        )


def dspy_examples(program: InferRetrieveRank, rows: Sequence[GoldRow], name: str) -> list[Any]:
    """Rows with gold as DSPy examples, whose fields are a labelled demo of either stage.

    Args:
        program: Finds the candidates of a demo; it has no model to rank.
        rows: The rows.
        name: The beginning of their keys.
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
    student: ProgramModule
    teacher: ProgramModule
    writer: LanguageModel
    trainset: Sequence[Any]
    valset: Sequence[Any]
    threads: int
    seed: int

    def run(self, log: TrialLog, budget: Budget) -> None:
        """Runs the optimizer until it or the budget ends; the log holds the prompts that it tried."""
        import dspy

        from irr.program.dspy_module import as_lm_error, dspy_model

        lm = dspy_model(self.writer, temperature=1.0, seed=self.seed, max_tokens=4_000)
        try:
            with (
                _quiet(),
                dspy.context(lm=lm, disable_history=True, num_threads=self.threads, max_errors=_ERRORS),
            ):
                self._compile(log, lm)
        except Exception as e:
            if not budget.failure and (defects := [*self.student.defects, *self.teacher.defects]):
                raise defects[0] from e
            if not (budget.failure or budget.reason):  # otherwise DSPy was interrupted
                logger.warning("%s ended early: %s", self.optimizer, as_lm_error(e))
        if budget.failure:
            raise budget.failure

    def _compile(self, log: TrialLog, lm: Any) -> None:
        import dspy

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
                count = _CANDIDATE_PROGRAMS
                search = dspy.BootstrapFewShotWithRandomSearch(num_candidate_programs=count, **of_demos)
                options: dict[str, Any] = {"teacher": self.teacher}
            case Optimizer.MIPRO:
                # MIPROv2 reads a seed of 0 as none.
                models = {"prompt_model": lm, "task_model": lm, "seed": self.seed + 1}
                search = dspy.MIPROv2(auto=None, num_candidates=_CANDIDATE_PROGRAMS, **models, **of_demos)
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
        hint = "give a teacher on a server, or use the optimizer bootstrap"
        raise UsageError(f"{optimizer} needs a model that can write instructions", hint)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps DSPy's prints and logs off standard output and error."""
    printed = StringIO()
    loud = [logging.getLogger(name) for name in ("dspy", "gepa", "optuna")]
    levels = [logger.level for logger in loud]
    for each in loud:
        each.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(printed):
            yield
    finally:
        for each, level in zip(loud, levels, strict=True):
            each.setLevel(level)
        for line in printed.getvalue().splitlines():
            logger.debug("%s", line)
