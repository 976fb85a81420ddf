"""What the service refuses: strangers, too much at a time, and whoever takes too long."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from irr.errors import UsageError
from irr.program.program import InferRetrieveRank
from irr.rank.ranker import Ranker, RetrievalRanker
from irr.types import Candidate, Ranking
from irr.workbench.serve.guard import Access
from irr.workbench.serve.server import ServeSetup, WarningLimit, listen, serve
from irr.workbench.serve.service import Service
from tests.doubles.served import hashed, in_thread
from tests.support import KITCHEN, Irr, write_jsonl

ASK = {"text": "You will bake bread"}


class Gate:
    """Ranks by score once it is opened, and knows how many texts came."""

    def __init__(self) -> None:
        self.open = Event()
        self.reached = Event()
        self.texts: list[str] = []

    def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
        self.texts += texts
        self.reached.set()
        assert self.open.wait(30)
        return RetrievalRanker().rank(texts, candidates)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> InferRetrieveRank:
    folder = tmp_path_factory.mktemp("guarded")
    return hashed(write_jsonl(folder / "kitchen.jsonl", KITCHEN), folder / "index")


def ranked_by(program: InferRetrieveRank, ranker: Ranker) -> InferRetrieveRank:
    return replace(program, stages=replace(program.stages, ranker=ranker))


@contextmanager
def served(
    program: InferRetrieveRank, access: Access | None = None, queue: int = 100
) -> Iterator[httpx.Client]:
    service = Service(lambda: program, queue)
    service.load()
    with in_thread(service, access=access) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_with_a_token_only_who_has_it_is_answered(program: InferRetrieveRank) -> None:
    with served(program, Access(token="sésame")) as client:
        for header in ({}, {"authorization": "Bearer other"}, {"authorization": "sésame".encode()}):
            answer = client.post("/v1/classify", json=ASK, headers=header)
            assert code(answer) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "sésame" not in answer.text
        assert code(client.get("/metrics")) == (401, "unauthorized")
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        assert code(client.get("/review/x")) == (404, "not_found")
        assert code(client.get("/reviews")) == (401, "unauthorized")
        right = {"authorization": "Bearer sésame".encode(), "host": "irr.example.org"}
        assert client.post("/v1/classify", json=ASK, headers=right).status_code == 200


def test_without_a_token_no_page_of_another_site_gets_through(program: InferRetrieveRank) -> None:
    with served(program) as client:
        for host in ("localhost", "LOCALHOST:1", "127.0.0.1:8080", "127.1.2.3", "[::1]:80"):
            assert client.post("/v1/classify", json=ASK, headers={"host": host}).status_code == 200
        for host in ("evil.example", "127.0.0.1.evil.example:80", "[::1", ""):
            assert code(client.post("/v1/classify", json=ASK, headers={"host": host})) == (403, "forbidden")
        for site in ("cross-site", "same-site"):
            answer = client.post("/v1/reload", headers={"sec-fetch-site": site})
            assert code(answer) == (403, "forbidden")
        assert (
            client.post("/v1/classify", json=ASK, headers={"sec-fetch-site": "same-origin"}).status_code
            == 200
        )


def test_a_large_body_is_refused_however_it_comes(program: InferRetrieveRank) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1_000

    with served(program, Access(body=10_000)) as client:
        assert code(client.post("/v1/classify", content=b" " * 10_001)) == (413, "too_large")
        assert code(client.post("/v1/classify", content=parts())) == (413, "too_large")
        assert client.post("/v1/classify", json=ASK).status_code == 200


def test_a_full_queue_says_when_to_come_again(program: InferRetrieveRank) -> None:
    gate = Gate()
    with served(ranked_by(program, gate), queue=4) as client, ThreadPoolExecutor(4) as pool:
        assert code(client.post("/v1/classify", json={"texts": ["a"] * 5})) == (413, "too_large")
        waiting = [pool.submit(client.post, "/v1/classify", json=ASK) for _ in range(4)]
        while "irr_queue_texts 4.0" not in client.get("/metrics").text:
            time.sleep(0.01)
        busy = client.post("/v1/classify", json=ASK)
        assert code(busy) == (429, "busy")
        assert int(busy.headers["retry-after"]) >= 1
        gate.open.set()
        assert [answer.result().status_code for answer in waiting] == [200] * 4
        assert client.post("/v1/classify", json=ASK).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(program: InferRetrieveRank) -> None:
    gate = Gate()
    with served(ranked_by(program, gate), Access(seconds=0.3)) as client:
        assert code(client.post("/v1/classify", json=ASK)) == (504, "timeout")
        gate.open.set()
        assert client.post("/v1/classify", json=ASK).status_code == 200
        assert "irr_queue_texts 0.0" in client.get("/metrics").text


def _connected(client: httpx.Client, body: bytes, length: int) -> socket.socket:
    url = client.base_url
    connection = socket.create_connection((url.host, url.port or 0), timeout=30)
    head = f"POST /v1/classify HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def test_a_caller_who_sends_slowly_holds_up_nobody(program: InferRetrieveRank) -> None:
    with served(program, Access(seconds=0.5)) as client:
        slow = [_connected(client, b"{", 100) for _ in range(50)]
        assert client.post("/v1/classify", json=ASK).status_code == 200
        for connection in slow:
            assert connection.recv(100).startswith(b"HTTP/1.1 504")
            connection.close()


def test_a_flood_of_malformed_requests_is_counted_in_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    logger, limit = logging.getLogger("uvicorn.error"), WarningLimit(0.5)
    invalid = "Invalid HTTP request received."
    logger.addFilter(limit)
    try:
        for _ in range(1_000):
            logger.warning(invalid)
        logger.error(invalid)
        time.sleep(0.6)
        logger.warning(invalid)
    finally:
        logger.removeFilter(limit)
    assert caplog.messages == [invalid, invalid, f"{invalid} (999 more times)"]


def test_nothing_is_worked_on_for_callers_who_left(program: InferRetrieveRank) -> None:
    gate = Gate()
    body = json.dumps(ASK).encode()
    with served(ranked_by(program, gate)) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/classify", json=ASK)
        assert gate.reached.wait(30)
        gone = [_connected(client, body, len(body)) for _ in range(20)]
        while "irr_queue_texts 21.0" not in client.get("/metrics").text:
            time.sleep(0.01)
        for connection in gone:
            connection.close()
        while "irr_queue_texts 1.0" not in client.get("/metrics").text:
            time.sleep(0.01)
        gate.open.set()
        assert first.result().status_code == 200
        assert client.post("/v1/classify", json=ASK).status_code == 200
    assert len(gate.texts) == 2


def test_a_text_that_breaks_the_program_costs_only_itself(program: InferRetrieveRank) -> None:
    class Breaks:
        def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
            if "bad" in "".join(texts):
                raise ValueError("secret")
            return RetrievalRanker().rank(texts, candidates)

    with served(ranked_by(program, Breaks())) as client:
        rows = client.post("/v1/classify", json={"texts": ["bread", "bad", "dishes"]}).json()["rows"]
        assert [row["error"] and row["error"]["code"] for row in rows] == [None, "internal", None]
        answer = client.post("/v1/classify", json={"text": "bad"})
        assert code(answer) == (500, "internal")
        assert "secret" not in answer.text


@pytest.mark.parametrize("workers", [1, 2])
def test_of_two_services_that_begin_on_one_port_the_second_is_refused(
    program: InferRetrieveRank, workers: int
) -> None:
    with listen("127.0.0.1", 0) as first, listen("127.0.0.1", first.getsockname()[1]) as second:
        first.listen()
        with pytest.raises(UsageError, match="cannot be listened on"):
            serve(
                ServeSetup(build=lambda: program, workers=workers),
                second,
                lambda: pytest.fail("is not ready"),
            )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "0.0.0.0"], "there is no token: set IRR_TOKEN"),
        (["--host", "irr.example.org"], "there is no token: set IRR_TOKEN"),
        (["--host", "127.0.0.1", "--port", "BUSY"], "cannot be listened on"),
        (["--workers", "0"], "--workers"),
        (["--timeout", "inf"], "--timeout"),
        (["--max-body", "inf"], "--max-body"),
    ],
)
def test_the_command_refuses_in_one_line_what_cannot_be_served(
    irr: Irr, labels_file: Path, options: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IRR_TOKEN", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port: Any = busy.getsockname()[1]
        found = irr("serve", "--labels", labels_file, *(str(port) if o == "BUSY" else o for o in options))
    assert found.returncode == 2
    assert says in found.stderr
    assert len(found.stderr.splitlines()) == 1
