"""A served model against a server that misbehaves on purpose: what is tried again, and what comes out."""

from __future__ import annotations

import asyncio
import email.utils
import gc
import json
import logging
import re
import socket
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aiohttp import web

from irr.errors import LMError, UsageError
from irr.lm.loop import run_on_loop
from irr.lm.protocol import metered
from irr.lm.server_client import ServedModel
from irr.lm.server_limits import Limits
from irr.program.dspy_module import as_lm_error, dspy_model, prepare_dspy, schema_config
from irr.types import Usage
from tests.doubles.dspy_calls import dspy_context
from tests.doubles.faulty_server import Behaviour, Call, FaultyServer, completion, failure, faulty_server

GOOD = '{"terms": ["bake bread", "wash up"]}'
SCHEMA = {
    "type": "object",
    "properties": {"terms": {"type": "array", "items": {"type": "string"}, "maxItems": 2}},
    "required": ["terms"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with faulty_server() as running:
        yield running


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


async def terms(model: ServedModel, text: str = "We bake.") -> list[str]:
    predict = prepare_dspy().Predict("text -> terms: list[str]")
    try:
        with dspy_context(dspy_model(model)):
            answer = await predict.acall(text=text, config=schema_config(SCHEMA) | {"max_tokens": 60})
    except Exception as e:
        raise as_lm_error(e) from None
    found: list[str] = answer.terms
    return found


def failing(model: ServedModel) -> LMError:
    with pytest.raises(LMError) as caught:
        run_on_loop(terms(model))
    return caught.value


def always(reply: Any) -> Behaviour:
    async def behave(_call: Call, _number: int) -> web.StreamResponse:
        response: web.StreamResponse = reply()
        return response

    return behave


def first(*replies: Any) -> Behaviour:
    """These replies once each, then good ones."""

    async def behave(_call: Call, number: int) -> web.StreamResponse:
        response: web.StreamResponse = replies[number]() if number < len(replies) else completion(GOOD)
        return response

    return behave


def test_a_good_answer_is_what_was_asked_for_and_its_cost_is_counted(server: FaultyServer) -> None:
    desk = server.desk(always(lambda: completion(GOOD)))
    model = ServedModel("small", desk.api_base)
    with metered() as meter:
        assert run_on_loop(terms(model)) == ["bake bread", "wash up"]
        run_on_loop(terms(model))
    assert meter.usage == Usage(
        calls=2, prompt_tokens=20, cached_tokens=8, completion_tokens=6, seconds=meter.usage.seconds
    )
    assert 0 < meter.usage.seconds < 5
    body = desk.calls[0].body
    assert desk.calls[0].path == "/v1/chat/completions"
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA  # bounds included
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("small", 0, 60)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_dspy_without_await_goes_the_same_way(server: FaultyServer) -> None:
    desk = server.desk(first(lambda: completion(GOOD), lambda: completion(GOOD, "length")))
    dspy = prepare_dspy()
    with metered() as meter, dspy_context(dspy_model(ServedModel("small", desk.api_base))):
        predict = dspy.Predict("text -> terms: list[str]")
        assert predict(text="We bake.").terms == ["bake bread", "wash up"]
        with pytest.raises(Exception, match="cut off") as caught:
            predict(text="We bake.")
    assert as_lm_error(caught.value).code == "truncated"
    assert meter.usage.calls == 2


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_may_go_well_later_is_tried_again(server: FaultyServer, status: int) -> None:
    desk = server.desk(first(lambda: failure(status), lambda: failure(status)))
    with metered() as meter:
        assert run_on_loop(terms(ServedModel("small", desk.api_base))) == ["bake bread", "wash up"]
    assert len(desk.calls) == 3
    assert meter.usage.calls == 1


def test_a_server_may_say_when_to_come_back(server: FaultyServer) -> None:
    desk = server.desk(first(lambda: failure(429, **{"Retry-After": "1"})))
    started = time.monotonic()
    run_on_loop(terms(ServedModel("small", desk.api_base)))
    assert 1.0 <= time.monotonic() - started < 20

    in_two_seconds = email.utils.formatdate(time.time() + 2.5, usegmt=True)
    desk = server.desk(first(lambda: failure(503, **{"Retry-After": in_two_seconds})))
    started = time.monotonic()
    run_on_loop(terms(ServedModel("small", desk.api_base)))
    assert 0.8 <= time.monotonic() - started < 20


def test_a_server_that_wants_a_long_pause_is_given_up_at_once(server: FaultyServer) -> None:
    desk = server.desk(always(lambda: failure(429, **{"Retry-After": "3600"})))
    error = failing(ServedModel("small", desk.api_base))
    assert (error.code, error.retryable, len(desk.calls)) == ("rate_limited", True, 1)


def test_a_server_that_always_fails_is_given_up(server: FaultyServer) -> None:
    desk = server.desk(always(lambda: failure(500, "CUDA out of memory")))
    error = failing(ServedModel("small", desk.api_base, retries=2))
    assert (error.code, error.retryable, len(desk.calls)) == ("server_error", True, 3)
    assert "CUDA out of memory" in str(error)


def test_a_server_that_takes_too_long(server: FaultyServer) -> None:
    async def sleep(_call: Call, number: int) -> web.StreamResponse:
        await asyncio.sleep(30 if number == 0 else 0)
        return completion(GOOD)

    assert run_on_loop(terms(ServedModel("small", server.desk(sleep).api_base, timeout=0.4))) == [
        "bake bread",
        "wash up",
    ]
    error = failing(ServedModel("small", server.desk(sleep).api_base, timeout=0.4, retries=0))
    assert (error.code, error.retryable) == ("timeout", True)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = failing(ServedModel("small", f"http://127.0.0.1:{port}/v1", retries=1))
    assert (error.code, error.retryable) == ("unreachable", True)
    assert f"127.0.0.1:{port}" in str(error)


def test_a_connection_dropped_in_the_middle_of_an_answer(server: FaultyServer) -> None:
    async def drop(call: Call, number: int) -> web.StreamResponse:
        if number:
            return completion(GOOD)
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(call.request)
        await response.write(b'{"choices": [')
        assert call.request.transport
        call.request.transport.close()
        return response

    assert run_on_loop(terms(ServedModel("small", server.desk(drop).api_base))) == ["bake bread", "wash up"]
    assert failing(ServedModel("small", server.desk(drop).api_base, retries=0)).code == "unreachable"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        # JSON that DSPy would have repaired, inventing its end.
        (lambda: completion('{"terms": ["bake bre', "length"), "truncated"),
        (lambda: completion(None, "length"), "truncated"),
        (lambda: completion(""), "empty"),
        (lambda: completion(" \n"), "empty"),
        (lambda: completion(None), "empty"),
        (lambda: completion("Sure! I would say they bake bread."), "unparsable"),
        (lambda: completion('{"words": ["bake bread"]}'), "unparsable"),
        (lambda: web.Response(text="<html>a proxy's page</html>", content_type="text/html"), "unparsable"),
        (lambda: web.Response(text="[" * 500_000), "unparsable"),
        (lambda: web.json_response([1, 2]), "unparsable"),
        (lambda: web.json_response({"choices": []}), "unparsable"),
        (lambda: web.json_response({"choices": [{"message": "hello"}]}), "unparsable"),
        (lambda: completion(json.dumps({"terms": ["x" * 5_000_000]})), "unparsable"),
        (lambda: failure(400, "This model's maximum context length is 4096 tokens."), "too_long"),
        (lambda: failure(413, "payload too large"), "too_long"),
        (lambda: failure(400, 'Grammar error: Unimplemented keys: ["uniqueItems"]'), "bad_request"),
        (lambda: failure(422, "temperature must be a number"), "bad_request"),
        (lambda: failure(404, "The model `small` does not exist."), "refused"),
        (lambda: web.Response(status=404, text="404 page not found"), "refused"),
        (lambda: web.Response(status=307, headers={"Location": "http://127.0.0.1:9/"}), "refused"),
    ],
)
def test_an_answer_that_is_no_use_is_not_asked_for_again(server: FaultyServer, reply: Any, code: str) -> None:
    desk = server.desk(always(reply))
    error = failing(ServedModel("small", desk.api_base))
    assert (error.code, error.retryable, len(desk.calls)) == (code, False, 1)
    assert "\n" not in str(error)
    assert len(str(error)) < 600


def test_an_answer_of_twenty_times_what_was_asked_for_comes_out_whole(server: FaultyServer) -> None:
    many = [f"term {i}" for i in range(40)]
    desk = server.desk(always(lambda: completion(json.dumps({"terms": many}))))
    assert (
        run_on_loop(terms(ServedModel("small", desk.api_base))) == many
    )  # the stage takes what it asked for


def test_what_a_useless_answer_cost_is_counted_too(server: FaultyServer) -> None:
    desk = server.desk(always(lambda: completion("", "length")))
    with metered() as meter:
        failing(ServedModel("small", desk.api_base))
    assert (meter.usage.calls, meter.usage.completion_tokens) == (1, 3)


def test_the_key_goes_to_the_server_and_nowhere_else(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    shown = []
    for status in (401, 403, 400, 500):
        desk = server.desk(always(lambda status=status: failure(status, f"Incorrect API key: {key}")))
        model = ServedModel("small", desk.api_base, retries=1)
        error = failing(model)
        shown += [str(error), repr(error), repr(model), repr(vars(model)), error.hint]
        assert desk.calls[0].authorization == f"Bearer {key}"
        if status in (401, 403):
            assert error.code == "refused"
            assert "set OPENAI_API_KEY" in error.hint
        shown += [repr(error.__cause__), "".join(traceback.format_exception(error))]
    assert "sk-very" not in "".join(shown) + caplog.text
    monkeypatch.delenv("OPENAI_API_KEY")
    run_on_loop(terms(ServedModel("small", (desk := server.desk(always(lambda: completion(GOOD)))).api_base)))
    assert desk.calls[0].authorization is None


@pytest.mark.parametrize(
    "address", ["localhost:8000", "ftp://host/v1", "http://user:secret@host/v1", "http://host/v1?key=secret"]
)
def test_an_address_that_is_no_plain_url(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        ServedModel("small", address)
    assert "secret" not in str(caught.value)


def test_a_reasoning_model_is_asked_without_what_it_does_not_take(server: FaultyServer) -> None:
    async def picky(call: Call, _number: int) -> web.StreamResponse:
        if "max_tokens" in call.body:
            return failure(
                400, "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens'."
            )
        if "temperature" in call.body:
            return failure(400, "Unsupported value: 'temperature' does not support 0 with this model.")
        return completion(GOOD)

    desk = server.desk(picky)
    model = ServedModel("thinker", desk.api_base)

    async def several() -> None:
        await asyncio.gather(*(terms(model) for _ in range(5)))

    run_on_loop(several())
    asked = len(desk.calls)
    run_on_loop(terms(model))
    assert len(desk.calls) == asked + 1
    assert desk.calls[-1].body["max_completion_tokens"] == 60


def test_requests_at_a_time_are_bounded(server: FaultyServer) -> None:
    async def slow(_call: Call, number: int) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        return failure(500) if number % 5 == 0 else completion(GOOD)

    desk = server.desk(slow)
    model = ServedModel("small", desk.api_base, limits=Limits(4), retries=8)

    async def several() -> None:
        await asyncio.gather(*(terms(model, f"text {i}") for i in range(30)))

    run_on_loop(several())
    assert desk.most == 4
    assert len({json.dumps(call.body["messages"]) for call in desk.calls}) == 30


def test_calls_from_several_threads_and_from_a_loop_of_the_callers_own(server: FaultyServer) -> None:
    async def echo(call: Call, _number: int) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        found = re.search(r"text \d+|mine", call.body["messages"][-1]["content"])
        return completion(json.dumps({"terms": [found[0] if found else ""]}))

    model = ServedModel("small", server.desk(echo).api_base)

    def one(i: int) -> tuple[list[str], int]:
        with metered() as meter:
            return run_on_loop(terms(model, f"text {i}")), meter.usage.calls

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(one, range(24))) == [([f"text {i}"], 1) for i in range(24)]

    async def own() -> list[str]:
        try:
            return await terms(model, "mine")
        finally:
            await model.close()

    assert asyncio.run(own()) == ["mine"]
    assert asyncio.run(own()) == ["mine"]
    assert one(7) == (["text 7"], 1)


def test_a_model_that_is_dropped_leaves_nothing_open(
    server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    desk = server.desk(always(lambda: completion(GOOD)))
    run_on_loop(terms(ServedModel("small", desk.api_base)))
    gc.collect()
    run_on_loop(asyncio.sleep(0.1))
    assert "Unclosed" not in caplog.text


def test_scores_need_vllm_and_say_so(server: FaultyServer) -> None:
    desk = server.desk(always(lambda: web.json_response({"detail": "Not Found"}, status=404)))
    model = ServedModel("small", desk.api_base)
    with pytest.raises(LMError, match="vLLM") as caught:
        run_on_loop(model.probabilities("a", "b", ["c"], "yes", "no"))
    assert caught.value.code == "refused"  # no text can be ranked so: the whole call ends


def vllm_like(limit: int, *, factor: float = 0.01) -> Behaviour:
    """Tokens are characters here."""

    async def behave(call: Call, _number: int) -> web.StreamResponse:
        body = call.body
        if call.path == "/tokenize":
            tokens = [ord(c) for c in body["prompt"]]
            return web.json_response({"tokens": tokens, "max_model_len": limit})
        assert call.path == "/generative_scoring"
        assert body["label_token_ids"] == [ord("y"), ord("n")]
        rows = [{"index": i, "score": len(item) * factor} for i, item in enumerate(body["items"])]
        return web.json_response({"data": rows[::-1], "usage": {"prompt_tokens": 7}})

    return behave


def test_scores_belong_to_their_items(server: FaultyServer) -> None:
    model = ServedModel("small", server.desk(vllm_like(500)).api_base)
    with metered() as meter:
        assert run_on_loop(model.probabilities("pre", "fix", ["aa", "a", "aaa"], "yes", "no")) == [
            0.02,
            0.01,
            0.03,
        ]
    assert (meter.usage.calls, meter.usage.prompt_tokens) == (1, 7)
    assert run_on_loop(model.probabilities("pre", "fix", [], "yes", "no")) == []
    with pytest.raises(LMError, match="same token"):
        run_on_loop(model.probabilities("pre", "fix", ["a"], "yes", "yet"))


def test_nothing_is_cut_off_silently(server: FaultyServer) -> None:
    model = ServedModel("small", server.desk(vllm_like(20)).api_base)
    assert run_on_loop(model.probabilities("p" * 10, "", ["i" * 9], "yes", "no")) == [0.09]
    for work in (
        model.probabilities("p" * 10, "", ["i", "i" * 10], "yes", "no"),
        model.probabilities("p" * 20, "", ["i"], "yes", "no"),
    ):
        with pytest.raises(LMError) as caught:
            run_on_loop(work)
        assert caught.value.code == "too_long"


def test_scores_that_are_no_numbers(server: FaultyServer) -> None:
    model = ServedModel("small", server.desk(vllm_like(100, factor=float("nan"))).api_base)
    with pytest.raises(LMError):
        run_on_loop(model.probabilities("p", "", ["i"], "yes", "no"))
