"""Runs DSPy's optimizers on the stages until they or the budget end."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from enum import StrEnum
from io import StringIO
from typing import TYPE_CHECKING, Any

from irr.errors import MissingExtraError, UsageError
from irr.lm.cache import Budget
from irr.lm.protocol import Capabilities, LanguageModel
from irr.optimize.dspy_adapter import as_lm_error, dspy_model, prepare_dspy

if TYPE_CHECKING:
    from irr.optimize.stage_program import StageProgram, TrialLog

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
        dspy = prepare_dspy()
        lm = dspy_model(self.writer, temperature=1.0, seed=self.seed, max_tokens=4_000)
        try:
            with (
                _quiet(),
                dspy.context(lm=lm, disable_history=True, num_threads=self.threads, max_errors=_ERRORS),
            ):
                self._compile(dspy, log, lm)
        except Exception as e:
            if not budget.failure and log.fixed.mistakes:
                raise log.fixed.mistakes[0] from e
            if not (budget.failure or budget.reason):  # otherwise the budget ended it
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
