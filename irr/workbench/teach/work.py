"""The work of a teacher as a batch job within a budget of calls: it resumes, and it stops in time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from irr.batch import Checkpoint, Engine, InputRow, Job, OutputRows, Progress, Tally, run
from irr.errors import BudgetSpentError, OutputError
from irr.lm.cache import Answers, Budget, CachedModel
from irr.lm.protocol import LanguageModel
from irr.program.program import InferRetrieveRank
from irr.types import Usage

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


def within_budget(models: Models, output: Path, calls: int | None, restart: bool = False) -> Models:
    """The same models within a budget, one and the same where they are.

    Their answers in words are kept beside the output until the job is done, so that none is paid for twice,
    and so is what every request cost.

    Args:
        models: Of infer and of rank.
        output: The output of the job; what an earlier call spent on its answers is off the budget.
        calls: Requests that may be sent in all; any number if None.
        restart: Whether the job begins anew, and what an earlier call asked counts for nothing.

    Raises:
        OutputError: If another program's file is where the answers are kept.
    """
    if restart:
        forget(output)
    answers = Answers(_kept(output))
    budget = Budget(calls, spent=answers.requests)
    within = {id(model): CachedModel(model, budget, answers) for model in models if model}
    infer, rank = (within[id(model)] if model else None for model in models)
    return infer, rank


def sized(program: InferRetrieveRank, output: Path, calls: int | None) -> InferRetrieveRank:
    """The program with no more texts under way than the rest of the budget pays for, at a request a stage.

    A budget that is spent on the first stage of many texts would leave no text that went through both.

    Args:
        program: The program, with models within a budget.
        output: The output of the job.
        calls: Requests that may be sent in all; any number if None.
    """
    if calls is None:
        return program
    left = calls - spent(output).calls
    stages = sum(model is not None for model in (program.models.infer_lm, program.models.rank_lm))
    texts = max(1, left // max(1, stages))
    group = min(program.stages.group_texts, texts)
    return program.in_groups(group, min(program.stages.workers, max(1, texts // group)))


def check_examples(output: str) -> None:
    """Checks that an output can hold examples.

    Raises:
        OutputError: If it is no JSONL file.
    """
    if not output.endswith(".jsonl"):
        raise OutputError(output, "is no JSONL file", "name the examples FILE.jsonl")


def work(
    job: Job,
    build: Callable[[], InferRetrieveRank],
    engine: Engine,
    one_by_one: Engine,
    watch: Progress,
) -> tuple[Tally | None, str]:
    """Runs a job; where the budget ends it, the answers so far become the output.

    Args:
        job: The job.
        build: Gives the program.
        engine: Answers rows together.
        one_by_one: Answers each row before it reads the next one: where the budget ends among rows that are
            answered together, those whose requests were all sent are written by it.
        watch: Is told what the run came to after each row.

    Returns:
        What it came to, None if it was ended; and why it was ended, "" if it was not.

    Raises:
        OutputError: If the output is no JSONL file.
    """
    check_examples(job.output)

    def to_the_end(program: InferRetrieveRank, rows: Iterator[InputRow]) -> OutputRows:
        waiting: deque[InputRow] = deque()

        def noted() -> Iterator[InputRow]:
            for row in rows:
                waiting.append(row)
                yield row

        try:
            for answer in engine(program, noted()):
                waiting.popleft()
                yield answer
        except BudgetSpentError:
            yield from one_by_one(program, iter(waiting))
            raise

    try:
        return run(job, build, to_the_end, watch), ""
    except BudgetSpentError as e:
        Checkpoint(Path(job.output)).publish()
        return None, str(e)


def spent(output: Path) -> Usage:
    """What all requests for this output cost, those of earlier calls included, until they are forgotten."""
    return Answers(_kept(output)).spent


def forget(output: Path) -> None:
    """Removes the answers that `within_budget` kept for a job that is done."""
    _kept(output).unlink(missing_ok=True)


def _kept(output: Path) -> Path:
    """Where the models' answers are kept until the job is done."""
    return output.with_name(f"{output.name}.lm")
