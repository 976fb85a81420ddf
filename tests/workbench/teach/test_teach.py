"""Teaching: examples from a model's answers, within a budget, resumed after any end, with gaps named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from irr import InferRetrieveRank, IrrError, build
from irr.batch import Job, Tally
from irr.config import Settings
from irr.errors import LMError, OutputError
from irr.io.texts import read_gold
from irr.lm.protocol import ChatRequest
from irr.prompts.pack import load_task
from irr.workbench.teach import (
    Models,
    TeachingResult,
    WritingPlan,
    label_texts,
    labels_to_write_for,
    write_texts,
)
from tests.doubles.hash_encoder import HashEncoder
from tests.doubles.scripted import ScriptedModel
from tests.support import KITCHEN, Irr, read_jsonl, write_jsonl

TEXTS = ["Bake bread at dawn", "wash the dishes", "order supplies by phone", "plan menus for a week"] * 3


def names_first(request: ChatRequest) -> str:
    """A strong model: it names the two candidates that stand first."""
    return json.dumps({"ranking": [1, 2]})


def quiet(_tally: Tally, _share: float | None) -> None:
    pass


@pytest.fixture
def job(tmp_path: Path) -> Job:
    rows = ({"id": str(n), "text": text, "page": n} for n, text in enumerate(TEXTS))
    source = write_jsonl(tmp_path / "texts.jsonl", rows)
    return Job(str(source), str(tmp_path / "examples.jsonl"), 2, costs=True)


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., InferRetrieveRank]:
    """Builds the program with models."""

    def with_models(models: Models = (None, None), method: str = "auto") -> InferRetrieveRank:
        return build(
            KITCHEN,
            encoder=HashEncoder(),
            settings=Settings().replace({"rank.method": method}),
            infer_lm=models[0],
            rank_lm=models[1],
            index_folder=tmp_path / "index",
        )

    return with_models


@pytest.fixture
def label(built: Callable[..., InferRetrieveRank], job: Job) -> Callable[..., TeachingResult]:
    """Labels the texts of the job by a model that ranks, within a budget."""

    def labelled(
        model: ScriptedModel,
        calls: int | None = None,
        watch: Callable[[Tally, float | None], None] = quiet,
        method: str = "auto",
    ) -> TeachingResult:
        return label_texts(job, lambda: (None, model), lambda models: built(models, method), calls, watch)

    return labelled


def test_every_text_becomes_an_example_that_says_where_it_is_from(
    label: Callable[..., TeachingResult], built: Callable[..., InferRetrieveRank], job: Job
) -> None:
    taught = label(ScriptedModel(names_first))
    rows = read_jsonl(Path(job.output))
    assert (taught.examples, taught.asked, taught.stopped) == (len(TEXTS), len(TEXTS), "")
    assert [row["text"] for row in rows] == TEXTS
    assert [row["meta"]["page"] for row in rows] == list(range(len(TEXTS)))
    assert rows[0]["taught"]["by"] == ["scripted"]
    assert rows[0]["taught"]["program"] == built((None, ScriptedModel(names_first))).digest
    assert all(len(row["taught"]["scores"]) == len(row["labels"]) == 2 for row in rows)
    # `optimize` reads what `teach` writes.
    assert len(read_gold(Path(job.output), built().space)) == len(TEXTS)


def test_a_text_that_the_model_left_unanswered_teaches_nothing(
    label: Callable[..., TeachingResult], job: Job
) -> None:
    def silent(request: ChatRequest) -> str | LMError:
        wash = "wash the dishes" in request.messages[-1][1]
        return LMError("empty", "no answer") if wash else names_first(request)

    taught = label(ScriptedModel(silent))
    rows = read_jsonl(Path(job.output))
    assert (taught.examples, taught.errors) == (9, 3)
    assert all(bool(row["error"]) == (not row["labels"]) == ("wash" in row["text"]) for row in rows)
    assert rows[1]["error"] == {"code": "empty", "message": "rank: no answer"}


def test_a_budget_is_kept_over_all_calls(label: Callable[..., TeachingResult], job: Job) -> None:
    model = ScriptedModel(names_first)
    # A budget that ends within a group of texts: what was paid for is kept.
    model.concurrency = 4
    assert label(model, 1).stopped == "the budget of 1 call is spent"
    assert len(model.requests) == 1
    # One text a group, as of a server that answers one request at a time.
    model.concurrency = 1
    # The same four texts come three times, and what a model said once is not asked again.
    assert label(model, 2).stopped == "the budget of 2 calls is spent"
    assert len(model.requests) == 2
    taught = label(model)
    assert (taught.examples, taught.stopped) == (len(TEXTS), "")
    assert [row["id"] for row in read_jsonl(Path(job.output))] == [str(n) for n in range(len(TEXTS))]


def test_a_budget_that_ends_within_a_group_of_texts_leaves_the_rows_that_are_answered(
    label: Callable[..., TeachingResult], job: Job
) -> None:
    output = Path(job.output)
    model = ScriptedModel(names_first)
    taught = label(model, 3)
    assert (taught.examples, taught.stopped) == (3, "the budget of 3 calls is spent")
    assert [row["id"] for row in read_jsonl(output)] == ["0", "1", "2"]
    assert label(model).examples == len(TEXTS)
    assert [row["id"] for row in read_jsonl(output)] == [str(n) for n in range(len(TEXTS))]


def test_a_small_budget_takes_a_few_texts_through_both_stages(
    built: Callable[..., InferRetrieveRank], job: Job
) -> None:
    def answers(request: ChatRequest) -> str:
        terms = "terms" in (request.schema or {})["properties"]
        return json.dumps({"terms": ["bake"]}) if terms else names_first(request)

    model = ScriptedModel(answers)
    stages = built((model, model)).stages
    assert stages.group_texts * stages.workers > 6
    taught = label_texts(job, lambda: (model, model), built, 6, quiet)
    assert (taught.examples, taught.stopped) == (3, "the budget of 6 calls is spent")


@pytest.mark.parametrize("method", ["listwise", "pointwise"])
def test_the_cost_of_all_calls_is_counted_after_a_stop(
    label: Callable[..., TeachingResult], job: Job, method: str
) -> None:
    model = ScriptedModel(names_first)
    calls = []
    for budget in (2, 5, None):
        taught = label(model, budget, method=method)
        calls.append(len(model.requests) + len(model.judged))
        assert taught.usage.calls == calls[-1]
        assert bool(taught.stopped) == (budget is not None and calls[-1] >= budget)
        if not taught.stopped:
            break
    assert calls[0] == 2 < calls[-1]
    assert taught.usage.prompt_tokens == (100 if method == "listwise" else 10) * calls[-1]
    assert not list(Path(job.output).parent.glob("*.lm"))


def test_answers_of_a_killed_call_are_not_asked_for_again(
    label: Callable[..., TeachingResult], job: Job
) -> None:
    class Killed(BaseException):
        pass

    def kill(tally: Tally, _share: float | None) -> None:
        if tally.texts == 8:
            raise Killed

    source = Path(job.input)
    write_jsonl(source, ({"id": n, "text": f"bake bread number {n}"} for n in range(40)))
    first, second = ScriptedModel(names_first), ScriptedModel(names_first)
    first.concurrency = second.concurrency = 4
    with pytest.raises(Killed):
        label(first, watch=kill)
    assert not Path(job.output).exists()
    asked = len(first.requests)
    assert label(second).examples == 40
    assert len(second.requests) == 40 - asked


def texts_for_labels(request: ChatRequest) -> str | LMError:
    name = request.messages[-1][1].splitlines()[0].removeprefix("Label: ")
    if name == "C++":
        return LMError("empty", "no answer")
    return json.dumps({"texts": [f"You will {name} every day", f"We {name} at night"]})


PLAN = WritingPlan(["bake", "cpp", "staff"], load_task("default"), 2)


@pytest.fixture
def write(built: Callable[..., InferRetrieveRank], job: Job) -> Callable[..., TeachingResult]:
    def written(model: ScriptedModel, plan: WritingPlan = PLAN, output: str = job.output) -> TeachingResult:
        return write_texts(output, plan, lambda: (model, None), built, quiet)

    return written


def test_texts_are_written_for_labels(
    write: Callable[..., TeachingResult], built: Callable[..., InferRetrieveRank], job: Job
) -> None:
    model = ScriptedModel(texts_for_labels)
    taught = write(model)
    rows = read_jsonl(Path(job.output))
    assert [row["id"] for row in rows] == ["bake/1", "bake/2", "staff/1", "staff/2"]
    assert rows[0]["labels"] == ["bake"]
    assert rows[0]["taught"] == {"by": ["scripted"], "written": True, "rank": 1}
    assert (taught.examples, taught.asked, taught.errors) == (4, 3, 1)
    asked = model.requests[0]
    assert "Mix, knead and bake dough." in asked.messages[-1][1]
    assert asked.schema is not None and asked.schema["properties"]["texts"]["maxItems"] == 2
    read_gold(Path(job.output), built().space)


def test_a_repeated_call_finds_its_examples_complete(write: Callable[..., TeachingResult]) -> None:
    model = ScriptedModel(texts_for_labels)
    write(model)
    asked = len(model.requests)
    assert write(model).examples == 4
    assert len(model.requests) == asked
    with pytest.raises(OutputError, match="holds other texts"):
        write(model, replace(PLAN, labels=["cook"]))
    assert write(model, replace(PLAN, labels=["cook"], restart=True)).examples == 2


def test_files_of_other_programs_are_not_written_over(write: Callable[..., TeachingResult], job: Job) -> None:
    for path in (Path(job.output), Path(f"{job.output}.lm")):
        path.write_text("mine\n")
        with pytest.raises(IrrError):
            write(ScriptedModel(texts_for_labels))
        assert path.read_text() == "mine\n"
        path.unlink()
    Path(job.output).write_text("")
    with pytest.raises(IrrError, match="both read and written"):
        write(ScriptedModel(texts_for_labels), replace(PLAN, reads=(Path(job.output),)))


def test_texts_written_before_a_budget_ended_are_not_paid_for_twice(
    write: Callable[..., TeachingResult], job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = Path(f"{job.output}.lm")
    model = ScriptedModel(texts_for_labels)
    ask = model.chat

    async def slowly(request: ChatRequest) -> str:
        await asyncio.sleep(0.1)
        return await ask(request)

    monkeypatch.setattr(model, "chat", slowly)
    stopped = write(model, replace(PLAN, calls=0))
    assert (stopped.examples, stopped.stopped) == (0, "the budget of 0 calls is spent")
    # The three labels are asked about together; one is under way when the next is not sent any more.
    first = write(model, replace(PLAN, calls=1))
    assert (first.examples, first.stopped) == (2, "the budget of 1 call is spent")
    assert len(read_jsonl(Path(job.output))) == 2
    assert len(read_jsonl(answers)) == 1
    assert write(model).examples == 4
    assert len(model.requests) == 3
    assert not answers.exists()


def test_examples_are_written_to_jsonl_files_only(write: Callable[..., TeachingResult]) -> None:
    for name in ("examples.csv", "-"):
        with pytest.raises(OutputError, match=r"FILE\.jsonl"):
            write(ScriptedModel(texts_for_labels), output=name)
    assert not Path("-").exists()


def test_labels_without_examples(built: Callable[..., InferRetrieveRank]) -> None:
    examples = [("bake", "cook"), ("wash",)]
    assert labels_to_write_for(built().space, examples) == ["cpp", "buy", "zh", "plan", "staff"]


def test_calls_that_cannot_teach(irr: Irr, labels_file: Path, tmp_path: Path) -> None:
    texts = write_jsonl(tmp_path / "texts.jsonl", [{"id": "1", "text": "x"}])
    call = ("teach", "--labels", labels_file, "--output", tmp_path / "out.jsonl")
    for more, said in (
        ((), "give --texts or --labels-without-examples"),
        (("--texts", texts, "--labels-without-examples"), "give --texts or --labels-without-examples"),
        (("--texts", texts), "give --lm NAME"),
    ):
        result = irr(*call, *more)
        assert result.returncode == 2
        assert said in result.stderr and len(result.stderr.splitlines()) == 1
    table = irr(
        "teach", "--labels", labels_file, "--output", tmp_path / "o.csv", "--texts", texts, "--lm", "embedded"
    )
    assert table.returncode == 2 and "name the examples FILE.jsonl" in table.stderr


def test_the_small_model_teaches_in_one_command(
    irr: Irr, model_folder: Path, labels_file: Path, tmp_path: Path
) -> None:
    rows = [{"id": n, "text": text} for n, text in enumerate(TEXTS[:2])]
    texts = write_jsonl(tmp_path / "texts.jsonl", rows)
    output = tmp_path / "examples.jsonl"
    result = irr(
        "teach", "--labels", labels_file, "--texts", texts, "--output", output, "--rank-lm", "embedded"
    )
    assert result.returncode == 0, result.stderr
    assert f"2 examples in {output}" in result.stderr
    assert "in all: " in result.stderr
    rows = read_jsonl(output)
    assert [row["id"] for row in rows] == [0, 1]
    assert rows[0]["costs"]["rank"]["prompt_tokens"] > 0
