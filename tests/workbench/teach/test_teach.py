"""Teaching: examples from a model's answers, within a budget, resumed after any end, with gaps named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from irr.batch import Job, Tally
from irr.config import Settings
from irr.errors import IrrError, LMError, OutputError
from irr.io.texts import read_gold
from irr.lm.protocol import ChatRequest
from irr.program.program import InferRetrieveRank, build
from irr.prompts.pack import load_task
from irr.types import Usage
from irr.workbench.teach import Taught, forget, label, sized, spent, within_budget, write
from irr.workbench.teach.write import Writing, answers_of, without_examples
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
def programs(tmp_path: Path) -> Callable[..., InferRetrieveRank]:
    """Builds the program with a model that ranks, within a budget."""

    def built(
        model: ScriptedModel | None,
        output: Path | None = None,
        calls: int | None = None,
        method: str = "auto",
    ) -> InferRetrieveRank:
        _, rank = within_budget((None, model), output or tmp_path / "none", calls)
        settings = Settings().replace({"rank.method": method})
        folder = tmp_path / "index"
        return build(KITCHEN, encoder=HashEncoder(), settings=settings, rank_lm=rank, index_folder=folder)

    return built


def test_every_text_becomes_an_example_that_says_where_it_is_from(
    programs: Callable[..., InferRetrieveRank], job: Job
) -> None:
    program = programs(ScriptedModel(names_first))
    taught = label(job, lambda: program, quiet)
    rows = read_jsonl(Path(job.output))
    assert (taught.examples, taught.stopped) == (len(TEXTS), "")
    assert [row["text"] for row in rows] == TEXTS
    assert [row["meta"]["page"] for row in rows] == list(range(len(TEXTS)))
    assert rows[0]["taught"]["by"] == ["scripted"]
    assert rows[0]["taught"]["program"] == program.digest
    assert all(len(row["taught"]["scores"]) == len(row["labels"]) == 2 for row in rows)
    # `optimize` reads what `teach` writes.
    assert len(read_gold(Path(job.output), program.space)) == len(TEXTS)


def test_what_the_model_left_unanswered_teaches_nothing(
    programs: Callable[..., InferRetrieveRank], job: Job
) -> None:
    def silent(request: ChatRequest) -> str | LMError:
        wash = "wash the dishes" in request.messages[-1][1]
        return LMError("empty", "no answer") if wash else names_first(request)

    taught = label(job, lambda: programs(ScriptedModel(silent)), quiet)
    rows = read_jsonl(Path(job.output))
    assert taught.examples == 9
    assert taught.tally is not None and taught.tally.errors == 3
    assert all(bool(row["error"]) == (not row["labels"]) == ("wash" in row["text"]) for row in rows)
    assert rows[1]["error"] == {"code": "empty", "message": "rank: no answer"}


def test_a_budget_is_kept_over_all_calls(programs: Callable[..., InferRetrieveRank], job: Job) -> None:
    output = Path(job.output)
    model = ScriptedModel(names_first)
    # One text a group, as of a server that answers one request at a time.
    model.concurrency = 1

    def again(calls: int | None) -> tuple[int, str]:
        taught = label(job, lambda: programs(model, output, calls), quiet)
        return taught.examples, taught.stopped

    # A budget that ends within a group of texts: what was paid for is kept.
    model.concurrency = 4
    assert again(1)[1] == "the budget of 1 call is spent"
    assert len(model.requests) == 1
    model.concurrency = 1
    # The same four texts come three times, and what a model said once is not asked again.
    assert again(2)[1] == "the budget of 2 calls is spent"
    assert len(model.requests) == 2
    examples, stopped = again(None)
    assert (examples, stopped) == (len(TEXTS), "")
    assert [row["id"] for row in read_jsonl(output)] == [str(n) for n in range(len(TEXTS))]


def test_a_budget_that_ends_within_a_group_of_texts_leaves_the_rows_that_are_answered(
    programs: Callable[..., InferRetrieveRank], job: Job
) -> None:
    output = Path(job.output)
    model = ScriptedModel(names_first)
    assert programs(model).group_texts == 8
    taught = label(job, lambda: programs(model, output, 3), quiet)
    assert (taught.examples, taught.stopped) == (3, "the budget of 3 calls is spent")
    assert [row["id"] for row in read_jsonl(output)] == ["0", "1", "2"]
    assert label(job, lambda: programs(model, output), quiet).examples == len(TEXTS)
    assert [row["id"] for row in read_jsonl(output)] == [str(n) for n in range(len(TEXTS))]


def test_a_small_budget_takes_a_few_texts_through_both_stages(job: Job, tmp_path: Path) -> None:
    def answers(request: ChatRequest) -> str:
        terms = "terms" in (request.schema or {})["properties"]
        return json.dumps({"terms": ["bake"]}) if terms else names_first(request)

    output, model = Path(job.output), ScriptedModel(answers)
    infer, rank = within_budget((model, model), output, 6)
    folder = tmp_path / "index"
    program = build(KITCHEN, encoder=HashEncoder(), infer_lm=infer, rank_lm=rank, index_folder=folder)
    assert program.group_texts * program.workers > 6
    taught = label(job, lambda: sized(program, output, 6), quiet)
    assert (taught.examples, taught.stopped) == (3, "the budget of 6 calls is spent")


@pytest.mark.parametrize("method", ["listwise", "pointwise"])
def test_what_all_calls_cost_is_counted_after_a_stop(
    programs: Callable[..., InferRetrieveRank], job: Job, method: str
) -> None:
    output = Path(job.output)
    model = ScriptedModel(names_first)
    calls = []
    for budget in (2, 5, None):
        taught = label(job, lambda budget=budget: programs(model, output, budget, method), quiet)
        calls.append(len(model.requests) + len(model.judged))
        assert spent(output).calls == calls[-1]
        assert bool(taught.stopped) == (budget is not None and calls[-1] >= budget)
    assert calls[0] == 2 < calls[-1]
    assert spent(output).prompt_tokens == (100 if method == "listwise" else 10) * calls[-1]
    forget(output)
    assert spent(output) == Usage()


def test_what_a_stopped_call_did_is_not_asked_again(
    programs: Callable[..., InferRetrieveRank], job: Job
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
        label(job, lambda: programs(first), kill)
    assert not Path(job.output).exists()
    assert label(job, lambda: programs(second), quiet).examples == 40
    assert len(second.requests) == 32


@pytest.fixture
def writing() -> Writing:
    def texts(request: ChatRequest) -> str | LMError:
        name = request.messages[-1][1].splitlines()[0].removeprefix("Label: ")
        if name == "C++":
            return LMError("empty", "no answer")
        return json.dumps({"texts": [f"You will {name} every day", f"We {name} at night"]})

    return Writing(["bake", "cpp", "staff"], 2, load_task("default"), ScriptedModel(texts))


def test_texts_are_written_for_labels(
    programs: Callable[..., InferRetrieveRank], writing: Writing, job: Job
) -> None:
    program = programs(None)
    taught = write(job, writing, lambda: program, quiet)
    rows = read_jsonl(Path(job.output))
    assert [row["id"] for row in rows] == ["bake/1", "bake/2", "staff/1", "staff/2"]
    assert rows[0]["labels"] == ["bake"]
    assert rows[0]["taught"] == {"by": ["scripted"], "written": True, "rank": 1}
    assert taught.examples == 4
    assert taught.tally is not None and taught.tally.errors == 1
    asked = writing.model.requests[0]
    assert "Mix, knead and bake dough." in asked.messages[-1][1]
    assert asked.schema is not None and asked.schema["properties"]["texts"]["maxItems"] == 2
    read_gold(Path(job.output), program.space)


def test_nothing_that_another_program_wrote_is_written_over(
    programs: Callable[..., InferRetrieveRank], writing: Writing, job: Job
) -> None:
    output = Path(job.output)
    for path in (output, answers_of(output), output.with_name("examples.asked.jsonl")):
        path.write_text("mine\n")
        with pytest.raises(IrrError):
            write(job, writing, lambda: programs(None), quiet)
        assert path.read_text() == "mine\n"
        path.unlink()


def test_what_was_written_before_a_budget_ended_is_not_paid_for_twice(
    programs: Callable[..., InferRetrieveRank], writing: Writing, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = answers_of(Path(job.output))
    ask = writing.model.chat

    async def slowly(request: ChatRequest) -> str:
        await asyncio.sleep(0.1)
        return await ask(request)

    monkeypatch.setattr(writing.model, "chat", slowly)

    def again(calls: int | None) -> Taught:
        model, _ = within_budget((writing.model, None), answers, calls)
        assert model is not None
        return write(job, replace(writing, model=model), lambda: programs(None), quiet)

    # The three labels are asked about together; one is under way when the next is not sent any more.
    first = again(1)
    assert (first.examples, first.stopped) == (2, "the budget of 1 call is spent")
    assert len(read_jsonl(answers.with_name(f"{answers.name}.lm"))) == 1
    assert again(None).examples == 4
    assert len(writing.model.requests) == 3
    forget(answers)
    assert not list(answers.parent.glob("*.lm"))


def test_examples_are_written_to_jsonl_files_only(
    programs: Callable[..., InferRetrieveRank], writing: Writing, job: Job
) -> None:
    for name in ("examples.csv", "-"):
        with pytest.raises(OutputError, match=r"FILE\.jsonl"):
            write(replace(job, output=name), writing, lambda: programs(None), quiet)
    assert not Path("-").exists()


def test_labels_without_examples(programs: Callable[..., InferRetrieveRank]) -> None:
    space = programs(None).space
    assert without_examples(space, [("bake", "cook"), ("wash",)]) == ["cpp", "buy", "zh", "plan", "staff"]


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
