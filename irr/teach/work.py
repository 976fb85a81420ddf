"""The work of a teacher as a batch job within a budget of calls: it resumes, and it stops in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from irr.batch import Engine, Job, Progress, run
from irr.batch.journal import Journal
from irr.batch.tally import Tally
from irr.errors import OutputError
from irr.lm.base import LanguageModel
from irr.optimize.budget import Budget, MeteredModel, Stopped
from irr.pipeline import InferRetrieveRank

Models = tuple[LanguageModel | None, LanguageModel | None]


@dataclass(frozen=True)
class Taught:
    """What teaching came to.

    Attributes:
        tally: The sums over the rows that were answered, those of earlier calls included; None where the
            budget ended it.
        examples: Examples in the output.
        stopped: Why it ended early; "" if it did not.
    """

    tally: Tally | None
    examples: int
    stopped: str


def within_budget(models: Models, output: Path, calls: int | None) -> Models:
    """The same models within a budget, one and the same where they are.

    Args:
        models: Of infer and of rank.
        output: The output of the job; what an earlier call spent on its answers is off the budget.
        calls: Requests that may be sent in all; any number if None.
    """
    budget = Budget(None if calls is None else max(0, calls - Journal(output).spent.calls))
    metered = {id(model): MeteredModel(model, budget) for model in models if model}
    infer, rank = (metered[id(model)] if model else None for model in models)
    return infer, rank


def work(
    job: Job, build: Callable[[], InferRetrieveRank], engine: Engine, watch: Progress
) -> tuple[Tally | None, str]:
    """Runs a job; where the budget ends it, the answers so far become the output.

    Returns:
        What it came to, None if it was ended; and why it was ended, "" if it was not.

    Raises:
        OutputError: If the output is no JSONL file.
    """
    if not job.output.endswith(".jsonl"):
        raise OutputError(job.output, "is no JSONL file", "name the examples FILE.jsonl")
    try:
        return run(job, build, engine, watch), ""
    except Stopped as e:
        Journal(Path(job.output)).publish()
        return None, str(e)
