"""How requests flow to servers of all sorts: how many at a time, how fast, and what a dead one stops."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from irr.batch import Job, Tally, local
from irr.batch import run as run_job
from irr.cli import options
from irr.errors import LMError, UsageError
from irr.lm.loop import run_on_loop
from irr.lm.server_client import ServedModel
from irr.lm.server_limits import Finder, Limits
from irr.program.program import build
from tests.doubles.batch_process import LABELS, program, write_texts
from tests.doubles.faulty_server import Behaviour, Call, FaultyServer, completion, failure, faulty_server
from tests.doubles.hash_encoder import HashEncoder
from tests.doubles.slow_server import slow_server
from tests.support import read_jsonl


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with faulty_server() as running:
        yield running


def ask(model: ServedModel, times: int) -> list[float | LMError]:
    """Sends requests all at once; returns the answers' token numbers, or errors."""

    async def one(number: int) -> float | LMError:
        try:
            tokens, _ = await model._tokenize(f"text {number}")
            return tokens[0]
        except LMError as e:
            return e

    async def all_of_them() -> list[float | LMError]:
        return await asyncio.gather(*(one(i) for i in range(times)))

    return run_on_loop(all_of_them())


def with_room_for(places: int, seconds: float, beyond: int | None = None) -> Behaviour:
    """A server that works on `places` at a time; more have to wait, or get a failure."""
    free: list[asyncio.Semaphore] = []
    busy = 0

    async def behave(call: Call, _number: int) -> web.StreamResponse:
        nonlocal busy
        free[:] = free or [asyncio.Semaphore(places)]
        if beyond and busy >= places:
            return failure(beyond)
        busy += 1
        try:
            async with free[0]:
                await asyncio.sleep(seconds)
        finally:
            busy -= 1
        return web.json_response({"tokens": [1], "max_model_len": 100})

    return behave


def simulated(places: int, delay: float, answers: int, most: int = 256) -> list[int]:
    """The limits that are tried at a server which answers `places` at a time after `delay`."""
    finder, now, limits = Finder(most), 0.0, []
    for _ in range(answers):
        now += delay / min(finder.limit, places)
        finder.answered(now, full=True)
        limits.append(finder.limit)
    return limits


def test_it_finds_how_many_requests_pay() -> None:
    for places in (8, 40, 100, 256):
        settled = simulated(places, 0.2, 40_000)[20_000:]
        assert places <= sum(settled) / len(settled) <= 1.7 * places
    assert max(simulated(10_000, 0.2, 20_000, most=64)) == 64
    assert simulated(256, 0.2, 1_100)[-1] == 256, "it is up in some seconds"


def test_it_asks_for_less_when_the_server_has_too_much(server: FaultyServer) -> None:
    desk = server.desk(with_room_for(10, 0.01, beyond=429))
    model = ServedModel("small", desk.api_base, retries=20, limits=Limits(256, auto=True))
    assert set(ask(model, 400)) == {1}
    assert desk.most < 40
    finder = Finder(256)
    finder.limit = 100
    for _ in range(100):
        finder.overloaded()
    assert finder.limit == 70, "one cut for all that were under way"


def test_no_minute_sees_more_than_it_may(server: FaultyServer) -> None:
    async def answer(_call: Call, _number: int) -> web.StreamResponse:
        usage = {"prompt_tokens": 90, "completion_tokens": 10}
        return web.json_response({"tokens": [1], "max_model_len": 100, "usage": usage})

    for limits in (Limits(requests_per_minute=1_200), Limits(tokens_per_minute=120_000, concurrency=1)):
        desk = server.desk(answer)
        start = time.monotonic()
        assert len(ask(ServedModel("small", desk.api_base, limits=limits), 21)) == 21
        assert 0.9 < time.monotonic() - start < 5


def test_all_requests_keep_the_pause_that_one_was_asked_for(server: FaultyServer) -> None:
    came: list[float] = []

    async def behave(_call: Call, number: int) -> web.StreamResponse:
        came.append(time.monotonic())
        if number == 0:
            return failure(429, **{"Retry-After": "1"})
        return web.json_response({"tokens": [1], "max_model_len": 100})

    model = ServedModel("small", server.desk(behave).api_base, limits=Limits(1, patience=60))
    assert ask(model, 5) == [1] * 5
    assert came[1] - came[0] > 0.9


def test_a_server_that_is_down_is_waited_for_with_one_line_each_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async def answer(_request: web.Request) -> web.Response:
            return web.json_response({"tokens": [1], "max_model_len": 100})

        app = web.Application()
        app.router.add_post("/tokenize", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()

    threading.Thread(target=loop.run_forever, daemon=True).start()
    begin = threading.Timer(2.0, asyncio.run_coroutine_threadsafe, (serve(), loop))
    begin.start()
    model = ServedModel("small", f"http://127.0.0.1:{port}/v1", retries=0, limits=Limits(patience=60))
    assert ask(model, 30) == [1] * 30
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(said) == 2, said
    assert "waiting up to 1 min" in said[0]
    assert "is back after" in said[1]
    loop.call_soon_threadsafe(loop.stop)


def test_a_server_that_stays_down_is_given_up_once_for_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    model = ServedModel("small", f"http://127.0.0.1:{port}/v1", retries=0, limits=Limits(patience=1.0))
    start = time.monotonic()
    errors = ask(model, 20)
    assert {error.code for error in errors if isinstance(error, LMError)} == {"down"}
    assert len(errors) == 20
    assert time.monotonic() - start < 10


def test_a_request_that_the_server_always_fails_at_does_not_stop_the_others(
    server: FaultyServer,
) -> None:
    async def picky(call: Call, _number: int) -> web.StreamResponse:
        if call.body["prompt"] == "text 3":
            return failure(500, "no")
        return web.json_response({"tokens": [1], "max_model_len": 100})

    model = ServedModel("small", server.desk(picky).api_base, retries=1, limits=Limits(patience=60))
    answers = ask(model, 6)
    assert [i for i, answer in enumerate(answers) if isinstance(answer, LMError)] == [3]


def test_a_run_whose_server_dies_stops_and_goes_on_with_the_next(tmp_path: Path) -> None:
    job = Job(str(write_texts(tmp_path / "t.jsonl", 600)), str(tmp_path / "o.jsonl"))
    limits = Limits(concurrency=8, patience=0.5)
    with ExitStack() as first:
        address = first.enter_context(slow_server(0.05, 8))

        def watch(tally: Tally, _share: float | None) -> None:
            if tally.texts == 40:
                first.close()

        with pytest.raises(LMError, match=r"was down.*repeat the same call to go on"):
            run_job(job, lambda: program(address, tmp_path / "index", limits), local(job), watch)
    done = len(Path(job.output + ".part").read_bytes().splitlines())
    assert 40 <= done < 100
    with slow_server(0.0, 64) as address:
        run_job(job, lambda: program(address, tmp_path / "index", limits), local(job), lambda *_: None)
    rows = read_jsonl(Path(job.output))
    assert [row["id"] for row in rows] == [f"t{i}" for i in range(600)]
    assert not any("fallbacks" in row for row in rows)


async def faulty(call: Call, number: int) -> web.StreamResponse:
    """Answers one time in six; else it is slow, drops out, lies about a length, or sends a proxy's page."""
    good = completion('{"ranking": [2, 1]}')
    match number % 6:
        case 1:
            await asyncio.sleep(3)
        case 2:
            return web.Response(text="<html>Bad gateway</html>", content_type="text/html")
        case 3 | 4:
            response = web.StreamResponse(headers={"Content-Length": "100000" if number % 6 == 3 else "20"})
            await response.prepare(call.request)
            await response.write(bytes(good.body or b"")[: 100 if number % 6 == 3 else 20])
            assert call.request.transport
            call.request.transport.close()
            return response
        case 5:
            return failure(500, "CUDA error")
    return good


def test_a_server_with_every_fault_costs_no_row_and_its_rows_can_be_retried(
    server: FaultyServer, tmp_path: Path
) -> None:
    job = Job(str(write_texts(tmp_path / "t.jsonl", 90)), str(tmp_path / "o.jsonl"))
    desk = server.desk(faulty)
    limits = Limits(concurrency=32, patience=60)
    model = ServedModel("any", desk.api_base, timeout=1, retries=0, limits=limits)
    troubled = build(LABELS, encoder=HashEncoder(), rank_lm=model, index_folder=tmp_path / "index")
    tally = run_job(job, lambda: troubled, local(job), lambda *_: None)
    assert (tally.texts, tally.errors) == (90, 0)
    assert 45 < tally.fallbacks < 90
    rows = read_jsonl(Path(job.output))
    assert [row["id"] for row in rows] == [f"t{i}" for i in range(90)]
    assert all(len(row["labels"]) == 10 for row in rows)
    codes = {fallback["code"] for row in rows for fallback in row.get("fallbacks", ())}
    assert codes == {"timeout", "unparsable", "unreachable", "server_error"}

    again = Job(job.input, job.output, retry_errors=True)
    with slow_server(0.0, 64) as address:
        make = partial(program, address, tmp_path / "index", limits)
        tally = run_job(again, make, local(again), lambda *_: None)
    assert (tally.texts, tally.fallbacks) == (90, 0)
    kept = [row for row in rows if "fallbacks" not in row]
    retried = {row["id"]: row for row in read_jsonl(Path(job.output))}
    assert all(retried[row["id"]] == row for row in kept)


def test_a_number_of_requests_is_a_number_or_auto() -> None:
    assert options.limits("auto", None, None, 60).auto
    assert options.limits("12", None, None, 60).concurrency == 12
    for wrong in ("0", "-1", "many", ""):
        with pytest.raises(UsageError, match="is not a number of requests"):
            options.limits(wrong, None, None, 60)
