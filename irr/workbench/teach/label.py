"""Labels texts through the whole program: each answer of the models becomes an example."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from irr.batch import InputRow, Job, OutputRow, OutputRows, Progress, Tally, json_line, predictions
from irr.program.program import InferRetrieveRank
from irr.types import Prediction, RowError
from irr.workbench.teach.work import Taught, work


def label(job: Job, build: Callable[[], InferRetrieveRank], watch: Progress) -> Taught:
    """Writes an example for every text: `job.top_k` labels, which models, and how sure the program was.

    A text that a model left unanswered has no labels, and its error says why: what the program says without
    its models teaches nothing.

    Args:
        job: The texts, and where the examples go.
        build: Gives the program, with its models.
        watch: Is told what the run came to after each row.
    """

    def engine(program: InferRetrieveRank, rows: Iterator[InputRow]) -> OutputRows:
        by = [
            model.name for model in dict.fromkeys([program.models.infer_lm, program.models.rank_lm]) if model
        ]
        source = {"by": by, "program": program.digest}
        for row, prediction in predictions(program, rows, job.top_k, job.decision):
            yield _example(row, prediction, source)

    def one_by_one(program: InferRetrieveRank, rows: Iterator[InputRow]) -> OutputRows:
        return engine(program.in_groups(1), rows)

    tally, stopped = work(job, build, engine, one_by_one, watch)
    return Taught(tally, count(Path(job.output)), stopped)


def count(output: Path) -> int:
    """How many rows of a file of examples have labels."""
    if not output.exists():
        return 0
    with output.open(encoding="utf-8") as lines:
        return sum(bool(json.loads(line)["labels"]) for line in lines)


def _example(row: InputRow, prediction: Prediction, source: dict[str, Any]) -> OutputRow:
    error = row.error or prediction.error
    if error is None and prediction.fallbacks:
        first = prediction.fallbacks[0]
        error = RowError(code=first.code, message=f"{first.stage}: {first.message}")
    labels = () if error else prediction.labels
    fields: dict[str, Any] = {
        "id": row.id,
        "text": row.text,
        "labels": [one.id for one in labels],
        "error": error.model_dump() if error else None,
        "taught": {**source, "scores": [one.score for one in labels]},
        "costs": prediction.costs.model_dump(),
    }
    if row.meta:
        fields["meta"] = row.meta
    tally = Tally.of(prediction).model_copy(update={"errors": int(error is not None), "scope": ()})
    return OutputRow(row.digest, json_line(fields), tally)
