"""The service while it is told to swap its program, or to stop."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.doubles.served import hashed, in_process
from tests.support import KITCHEN, write_jsonl

TEXTS = ["You will bake bread", "Washing dishes", "order supplies for the wholesaler", "plan menus"]
# The same labels by other ids, so that every answer tells which program it is of.
OTHER = [{**label, "id": f"other-{label['id']}", "parents": []} for label in KITCHEN]


def rows_of(labels: list[dict[str, Any]], folder: Path) -> tuple[str, list[dict[str, Any]]]:
    program = hashed(write_jsonl(folder / "expected.jsonl", labels), folder / "index")
    predictions = program.batch(TEXTS, 3)
    return program.digest, [
        {"id": None, "labels": [x.model_dump(exclude_none=True) for x in p.labels], "error": None}
        for p in predictions
    ]


def _check_row(row: dict[str, Any], expected: dict[str, Any]) -> None:
    """Labels are the same; the last digit of a score moves with the texts that are answered together."""
    scores, expected_scores = ([label["score"] for label in one["labels"]] for one in (row, expected))
    assert scores == pytest.approx(expected_scores, abs=2e-6)
    names, expected_names = ([label["name"] for label in one["labels"]] for one in (row, expected))
    ids, expected_ids = ([label["id"] for label in one["labels"]] for one in (row, expected))
    assert (row["error"], names, ids) == (expected["error"], expected_names, expected_ids)


class Load:
    """Callers who ask on until they are told to stop, and check every answer."""

    def __init__(self, address: str, expected: dict[str, list[dict[str, Any]]]) -> None:
        self.answers: dict[str, int] = dict.fromkeys(expected, 0)
        self.wrong: list[Any] = []
        self._address, self._expected = address, expected
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(8)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        with httpx.Client(base_url=self._address, timeout=30) as client:
            while not self._stop.is_set():
                number += 1
                try:
                    at = number % len(TEXTS)
                    answer = client.post("/v1/classify", json={"text": TEXTS[at], "top_k": 3})
                    program = answer.headers["x-irr-program"]
                    _check_row(answer.json(), self._expected[program][at])
                    self.answers[program] += 1
                except Exception as e:
                    self.wrong.append(e)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_swap_under_load_drops_no_request_and_mixes_no_answer(tmp_path: Path, workers: int) -> None:
    labels = tmp_path / "labels.jsonl"
    both = [KITCHEN, OTHER]
    expected = dict(rows_of(one, tmp_path) for one in both)

    def swap(content: list[dict[str, Any]], tell: Callable[[], object], load: Load) -> None:
        write_jsonl(labels, content)
        wanted = rows_of(content, tmp_path)[0]
        before = load.answers[wanted]
        tell()
        deadline = time.monotonic() + 60
        while load.answers[wanted] < before + 20:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    write_jsonl(labels, KITCHEN)
    with (
        in_process(labels, tmp_path / "served", "--workers", str(workers)) as (address, process),
        httpx.Client(base_url=address, timeout=60, transport=httpx.HTTPTransport(retries=20)) as client,
    ):
        while _status(client) != 200:
            time.sleep(0.05)
        with Load(address, expected) as load:
            swap(OTHER, lambda: process.send_signal(signal.SIGHUP), load)
            swap(KITCHEN, lambda: client.post("/v1/reload").raise_for_status(), load)
            swap(OTHER, lambda: client.post("/v1/reload").raise_for_status(), load)
        assert not load.wrong
        if workers == 1:
            labels.write_text("not labels")
            refused = client.post("/v1/reload")
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_reloaded")
            assert "the program before goes on" in refused.json()["error"]["message"]
            assert client.post("/v1/classify", json={"text": TEXTS[0]}).status_code == 200
        else:
            total = sum(
                float(line.split()[-1])
                for line in client.get("/metrics").text.splitlines()
                if line.startswith("irr_requests_total") and 'path="/v1/classify"' in line
            )
            assert total >= sum(load.answers.values()), "the figures of all processes are added up"
        process.terminate()
        assert process.wait(60) == 0


def _status(client: httpx.Client) -> int:
    try:
        return client.get("/readyz").status_code
    except httpx.TransportError:
        return 0


def test_a_service_that_is_stopped_answers_what_it_took(tmp_path: Path) -> None:
    labels = write_jsonl(tmp_path / "labels.jsonl", KITCHEN)
    texts = [f"{TEXTS[i % 4]} number {i}" for i in range(900)]
    with in_process(labels, tmp_path / "index") as (address, process):
        with httpx.Client(base_url=address, timeout=60) as client:
            answers: list[httpx.Response] = []
            asking = threading.Thread(
                target=lambda: answers.append(client.post("/v1/classify", json={"texts": texts}))
            )
            asking.start()
            while "irr_queue_texts 900.0" not in httpx.get(f"{address}/metrics").text:
                assert asking.is_alive()
            process.terminate()
            asking.join(60)
        assert process.wait(60) == 0
    rows = json.loads(answers[0].content)["rows"]
    assert len(rows) == 900
    assert all(row["labels"] for row in rows)


def test_a_worker_that_cannot_load_the_program_ends_the_service(tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text("not labels")
    with in_process(labels, tmp_path / "index", "--workers", "2") as (_, process):
        assert process.wait(60) != 0
