"""Writes texts for labels: what a model writes for a label becomes an example of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from irr.batch import Checkpoint, Engine, InputRow, Job, OutputRow, OutputRows, Progress, Tally, json_line
from irr.errors import LMError, LMUnavailableError, OutputError
from irr.io.columns import OWN_NAMES
from irr.io.outputs import refuse_to_write_over, replace_file
from irr.labels.space import LabelSpace
from irr.lm.loop import gather, run_on_loop
from irr.lm.protocol import LanguageModel, metered
from irr.program.program import InferRetrieveRank
from irr.prompts.pack import TaskPack
from irr.prompts.templates import WritingPrompt
from irr.types import Costs, Label, RowError
from irr.workbench.teach.work import Taught, check_examples, work

# How far down its ranking a program is looked at for the label of a text.
_DEPTH = 50


@dataclass(frozen=True)
class Writing:
    """What is to be written.

    Attributes:
        labels: Ids of the labels that get texts.
        count: Texts a label.
        task: What texts and labels are called.
        model: Writes.
    """

    labels: Sequence[str]
    count: int
    task: TaskPack
    model: LanguageModel


def without_examples(space: LabelSpace, examples: Sequence[Sequence[str]]) -> list[str]:
    """Ids of the labels that no example has, in the order of the label space."""
    known = {label for labels in examples for label in labels}
    return [label.id for label in space if label.id not in known]


def write(job: Job, writing: Writing, build: Callable[[], InferRetrieveRank], watch: Progress) -> Taught:
    """Writes the examples, each with the rank that its label has in the program's answer.

    The labels asked about stand in `OUTPUT.asked.jsonl` and the model's answers in `OUTPUT.answers.jsonl`,
    from which a call that was stopped goes on.

    Args:
        job: Where the examples go, and what must not be written over; its input is not read.
        writing: What to write.
        build: Gives the program, without language models.
        watch: Is told what the run came to after each label.

    Raises:
        OutputError: If a file that another program wrote is in the way.
    """
    check_examples(job.output)
    output, answers = Path(job.output), answers_of(Path(job.output))
    asked = output.with_name(f"{output.stem}.asked.jsonl")
    refuse_to_write_over(job.output, *job.reads)
    program = build()
    space = program.space
    rows = ({"id": name, "text": space[space.number_of[name]].name} for name in writing.labels)
    asks = "".join(json.dumps(row) + "\n" for row in rows)
    # A call that ended before the first answer leaves the questions, and no run.
    for path, own in ((asked, asks), (output, "")):
        if not Checkpoint(answers).begun and path.exists() and path.read_bytes() != own.encode():
            raise OutputError(path, "exists, and was not written by a run", "name another output")
    with replace_file(asked) as file:
        file.write(asks)
    prompt = WritingPrompt(writing.task, writing.count)

    def engine_of(at_a_time: int) -> Engine:
        def engine(_program: InferRetrieveRank, rows: Iterator[InputRow]) -> OutputRows:
            while group := list(islice(rows, at_a_time)):
                labels = [space[space.number_of[str(row.id)]] for row in group]
                found = run_on_loop(_written(writing.model, prompt, labels))
                yield from (_answer(row, *one) for row, one in zip(group, found, strict=True))

        return engine

    inner = replace(job, input=str(asked), output=str(answers), columns=OWN_NAMES)
    tally, stopped = work(inner, lambda: program, engine_of(writing.model.concurrency), engine_of(1), watch)
    examples = list(_examples(answers, program, writing.model.name))
    with replace_file(output) as file:
        file.writelines(json.dumps(example, ensure_ascii=False) + "\n" for example in examples)
    return Taught(tally, len(examples), stopped)


def answers_of(output: Path) -> Path:
    """Where the model's answers stand from which these examples are made."""
    return output.with_name(f"{output.stem}.answers.jsonl")


async def _written(
    model: LanguageModel, prompt: WritingPrompt, labels: Sequence[Label]
) -> list[tuple[list[str], RowError | None, Costs]]:
    async def one(label: Label) -> tuple[list[str], RowError | None, Costs]:
        texts: list[str] = []
        error = None
        with metered() as meter:
            try:
                texts = prompt.read(await model.chat(prompt.request(label)))
            except LMUnavailableError:
                raise
            except LMError as e:
                error = RowError(code=e.code, message=e.message)
        return texts, error, Costs(infer=meter.usage)

    return await gather(*map(one, labels))


def _answer(row: InputRow, texts: list[str], error: RowError | None, costs: Costs) -> OutputRow:
    fields = {
        "id": row.id,
        "texts": texts,
        "error": error.model_dump() if error else None,
        "costs": costs.model_dump(),
    }
    return OutputRow(row.digest, json_line(fields), Tally(texts=1, errors=error is not None, costs=costs))


def _examples(answers: Path, program: InferRetrieveRank, by: str) -> Iterator[dict[str, Any]]:
    written = []
    if answers.exists():
        with answers.open(encoding="utf-8") as lines:
            for answer in map(json.loads, lines):
                written += [(answer["id"], number, text) for number, text in enumerate(answer["texts"], 1)]
    predictions = program.batch([text for *_, text in written], _DEPTH)
    for (label, number, text), prediction in zip(written, predictions, strict=True):
        ranks = [one.id for one in prediction.labels]
        rank = ranks.index(label) + 1 if label in ranks else None
        yield {
            "id": f"{label}/{number}",
            "text": text,
            "labels": [label],
            "taught": {"by": [by], "written": True, "rank": rank},
        }
