"""Labels texts through a whole program: each answer of its models becomes an example."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irr import InferRetrieveRank, LanguageModel, Prediction
from irr.batch import (
    Checkpoint,
    InputRow,
    Job,
    OutputRow,
    OutputRows,
    Progress,
    Tally,
    json_line,
    predictions,
    run,
)
from irr.errors import BudgetSpentError, OutputError
from irr.lm.cache import Answers, Budget, CachedModel
from irr.types import RowError, Usage

# The models of infer and of rank.
Models = tuple[LanguageModel | None, LanguageModel | None]


@dataclass(frozen=True)
class Taught:
    """The result of teaching.

    Attributes:
        examples: Examples in the output.
        asked: Texts to label, or labels to write for, that were done.
        errors: The number of these without an answer.
        stopped: The reason for an early end; "" if there was none.
        usage: The cost of all requests, those of earlier calls included.
    """

    examples: int
    asked: int
    errors: int
    stopped: str
    usage: Usage


def label_texts(
    job: Job,
    models: Callable[[], Models],
    build: Callable[[Models], InferRetrieveRank],
    calls: int | None,
    watch: Progress,
) -> Taught:
    """Writes an example for every text: `job.top_k` labels, the models, and the scores of the program.

    A text that a model left unanswered has no labels and an error: labels without the models teach nothing.
    A repeated call goes on; where the budget ends it, the examples so far are the output.

    Args:
        job: The texts, and the file of the examples.
        models: Opens the models of infer and rank.
        build: Builds the program with models.
        calls: Requests that may be sent, those of earlier calls included; any number if None.
        watch: Called after each row with the sums so far.

    Raises:
        OutputError: If the output is not a JSONL file.
    """
    answers = kept_answers(job.output, job.restart)

    def build_within_budget() -> InferRetrieveRank:
        program = build(within_budget(models(), calls, answers))
        return program if calls is None else _in_small_groups(program, calls - answers.requests)

    def engine(program: InferRetrieveRank, rows: Iterator[InputRow]) -> OutputRows:
        waiting: deque[InputRow] = deque()

        def remembered() -> Iterator[InputRow]:
            for row in rows:
                waiting.append(row)
                yield row

        try:
            for example in _examples(program, remembered(), job):
                waiting.popleft()
                yield example
        except BudgetSpentError:
            # The texts of the group whose requests were all answered.
            yield from _examples(program.in_groups(1), iter(waiting), job)
            raise

    stopped, tally = "", Tally()
    try:
        tally = run(job, build_within_budget, engine, watch)
    except BudgetSpentError as e:
        stopped = str(e)
        Checkpoint(Path(job.output)).publish()
    else:
        forget_answers(job.output)
    return Taught(_labelled(Path(job.output)), tally.texts, tally.errors, stopped, answers.spent)


def kept_answers(output: str, restart: bool) -> Answers:
    """The models' answers, which are kept beside the output until it is complete.

    Raises:
        OutputError: If the output is not a JSONL file, or the file for the answers holds something else.
    """
    if not output.endswith(".jsonl"):
        raise OutputError(output, "is not a JSONL file", "name the examples FILE.jsonl")
    answers = Answers(_answers_file(output))
    if restart:
        forget_answers(output)
        answers = Answers(_answers_file(output))
    return answers


def forget_answers(output: str) -> None:
    """Removes the models' answers of an output that is complete."""
    _answers_file(output).unlink(missing_ok=True)


def _answers_file(output: str) -> Path:
    return Path(f"{output}.lm")


def within_budget(models: Models, calls: int | None, answers: Answers) -> Models:
    """The models within one budget; one model for both stages stays one."""
    budget = Budget(calls, spent=answers.requests)
    cached = {id(model): CachedModel(model, budget, answers) for model in models if model}
    infer, rank = (cached[id(model)] if model else None for model in models)
    return infer, rank


def _in_small_groups(program: InferRetrieveRank, left: int) -> InferRetrieveRank:
    """The program with no more texts under way than the budget pays for, at a request a stage.

    A budget that is spent on the first stage of many texts would leave no text that went through both.
    """
    texts = max(1, left // max(1, len(program.models.language_models)))
    group = min(program.stages.group_texts, texts)
    return program.in_groups(group, min(program.stages.workers, max(1, texts // group)))


def _examples(program: InferRetrieveRank, rows: Iterable[InputRow], job: Job) -> Iterator[OutputRow]:
    by = [model.name for model in dict.fromkeys(program.models.language_models)]
    source = {"by": by, "program": program.digest}
    for row, prediction in predictions(program, rows, job.top_k, job.decision):
        yield _example(row, prediction, source)


def _example(row: InputRow, prediction: Prediction, source: dict[str, Any]) -> OutputRow:
    error = row.error or prediction.error
    if error is None and prediction.fallbacks:
        first = prediction.fallbacks[0]
        error = RowError(code=first.code, message=f"{first.stage}: {first.message}")
    labels = () if error else prediction.labels
    fields: dict[str, Any] = {
        "id": row.id,
        "text": row.text,
        "labels": [label.id for label in labels],
        "error": error.model_dump() if error else None,
        "taught": {**source, "scores": [label.score for label in labels]},
        "costs": prediction.costs.model_dump(),
    }
    if row.meta:
        fields["meta"] = row.meta
    tally = Tally.of(prediction).model_copy(update={"errors": int(error is not None), "scope": ()})
    return OutputRow(row.digest, json_line(fields), tally)


def _labelled(output: Path) -> int:
    """The number of rows with labels."""
    if not output.exists():
        return 0
    with output.open(encoding="utf-8") as lines:
        return sum(bool(json.loads(line)["labels"]) for line in lines)
