"""The whole program with language models that answer from a script: order, faults, costs, leaving early."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from aiohttp import web

import irr as package
from irr.errors import LMError, UsageError
from irr.lm.loop import Requests, run_on_loop
from irr.lm.protocol import ChatRequest
from irr.program.program import InferRetrieveRank, build
from irr.rank.ranker import RetrievalRanker
from tests.doubles.faulty_server import Call, completion, failure, faulty_server
from tests.doubles.scripted import ScriptedModel
from tests.support import KITCHEN, Irr, read_jsonl, write_jsonl


def reply(request: ChatRequest) -> str | LMError:
    """Terms and rankings for most texts; for some, what no model should say."""
    text = request.messages[-1][1]
    if "number 7" in text:
        return LMError("server_error", "500")
    if "number 8" in text:
        return '{"terms": ["\ud800"], "ranking": ' + "[" * 3_000
    if "ranking" in (request.schema or {}).get("properties", {}):
        return '{"ranking": [2, 2, 99, 1]}'
    return json.dumps({"terms": ["order supplies", "\x00"]})


def both(
    model: ScriptedModel, kitchen: package.LabelSpace, encoder: package.SentenceEncoder, folder: Path
) -> InferRetrieveRank:
    return build(kitchen, encoder=encoder, infer_lm=model, rank_lm=model, index_folder=folder)


def test_many_texts_come_back_in_order_whatever_the_model_says(
    kitchen: package.LabelSpace, encoder: package.SentenceEncoder, index_folder: Path
) -> None:
    program = both(ScriptedModel(reply), kitchen, encoder, index_folder)
    plain = build(kitchen, encoder=encoder, index_folder=index_folder)
    texts = [f"Bake bread, number {i % 10}, {i}" if i % 11 else "" for i in range(150)]
    predictions = list(program.batch(texts, top_k=8))
    every = sorted(label.id for label in kitchen)
    assert len(predictions) == len(texts)
    for i, (text, prediction) in enumerate(zip(texts, predictions, strict=True)):
        if not text:
            assert prediction.error is not None
            continue
        assert sorted(label.id for label in prediction.labels) == every
        stages = [(fallback.stage, fallback.code) for fallback in prediction.fallbacks]
        if "number 7" in text:
            assert stages == [("infer", "server_error"), ("rank", "server_error")]
            assert [label.id for label in prediction.labels] == [
                label.id for label in plain(text, top_k=8).labels
            ]
        elif "number 8" in text:
            assert stages == [("infer", "unparsable"), ("rank", "unparsable")]
        else:
            assert stages == [], i
            assert prediction.costs.infer.calls == prediction.costs.rank.calls == 1
            assert prediction.costs.rank.dropped == 2
            assert prediction.costs.rank.cached_tokens == 60


class Endless(ScriptedModel):
    """A model that takes an hour."""

    cancelled = 0

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    async def chat(self, request: ChatRequest) -> str:
        self.asked.set()
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return ""


def test_who_leaves_early_does_not_wait_for_the_model(
    kitchen: package.LabelSpace, encoder: package.SentenceEncoder, index_folder: Path
) -> None:
    model = Endless()
    program = both(model, kitchen, encoder, index_folder)

    def texts() -> Iterator[str]:
        yield from (f"text {i}" for i in range(60))
        assert model.asked.wait(60)
        raise KeyboardInterrupt  # as if a user pressed Ctrl-C while the answers were awaited

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(zip(range(1_000), program.batch(texts()), strict=False))
    assert time.monotonic() - start < 60
    while not model.cancelled and time.monotonic() - start < 60:
        time.sleep(0.05)  # the loop hears of it a little later
    assert model.cancelled > 0


def test_calls_made_after_calling_off_are_called_off() -> None:
    requests = Requests()
    requests.cancel()
    with requests.made_here(), pytest.raises(CancelledError):
        run_on_loop(asyncio.sleep(3_600))


def test_waiting_on_the_loop_for_the_loop_is_refused() -> None:
    async def wait() -> None:
        run_on_loop(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="await the work instead"):
        run_on_loop(wait())


def test_a_ranker_and_a_model_to_rank_are_too_much(kitchen: package.LabelSpace) -> None:
    with pytest.raises(UsageError, match="give one of them"):
        build(kitchen, rank_lm=ScriptedModel(), ranker=RetrievalRanker())


async def simple_server(call: Call, number: int) -> web.StreamResponse:
    """Knows no schemas; answers in prose when asked about dishes, and fails when asked about Friday."""
    if "response_format" in call.body:
        return failure(400, "response_format of type json_schema is not supported")
    text = call.body["messages"][-1]["content"]
    if "Friday" in text:
        return failure(422, "no Fridays")
    if "dishes?" in text:
        return completion("I would say washing.")
    return completion('{"ranking": [1, 1, 77]}' if "Candidate" in text else '{"terms": ["baking"]}')


def test_the_command_answers_every_row_whatever_the_server_does(
    irr: Irr, labels_file: Path, tmp_path: Path
) -> None:
    texts = ["Bake bread", "Who washes the dishes?", "Plan menus by Friday", "C++"]
    rows = [{"id": str(i), "text": text} for i, text in enumerate(texts)]
    source, output = write_jsonl(tmp_path / "t.jsonl", rows), tmp_path / "o.jsonl"
    with faulty_server() as server:
        desk = server.desk(simple_server)
        call = ("classify", "--labels", labels_file, "--input", source, "--output", output, "--costs")
        result = irr(*call, "--top-k", "8", "--lm", "openai/simple", "--api-base", desk.api_base)
    assert result.returncode == 1, result.stderr
    assert "2 of 4 texts answered WITHOUT THE LANGUAGE MODEL" in result.stderr
    assert "asking without it" in result.stderr
    assert "rank: 3 calls" in result.stderr
    answers = read_jsonl(output)
    for answer in answers:
        assert sorted(label["id"] for label in answer["labels"]) == sorted(label["id"] for label in KITCHEN)
    stages = [[(f["stage"], f["code"]) for f in answer.get("fallbacks", [])] for answer in answers]
    assert stages == [
        [],
        [("infer", "unparsable"), ("rank", "unparsable")],
        [("infer", "bad_request"), ("rank", "bad_request")],
        [],
    ]
    assert answers[0]["costs"]["rank"]["dropped"] == 2


def test_a_base_without_a_model_is_refused(irr: Irr, labels_file: Path) -> None:
    call = ("inspect", "--labels", labels_file, "--text", "x", "--api-base", "http://127.0.0.1:1/v1")
    result = irr(*call)
    assert result.returncode == 2
    assert "add --lm openai/MODEL" in result.stderr
