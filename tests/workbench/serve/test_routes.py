"""The routes of the service, asked over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from irr.workbench.serve.service import Service
from tests.doubles.served import hashed, in_thread
from tests.support import KITCHEN, write_jsonl

PATHS = {"/v1/classify", "/v1/labels", "/v1/reload", "/healthz", "/readyz", "/metrics"}
TEXTS = ["You will bake sourdough bread every morning", "Washing the dishes", "bread and dishes"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    folder = tmp_path_factory.mktemp("served")
    labels = write_jsonl(folder / "kitchen.jsonl", KITCHEN)
    service = Service(lambda: hashed(labels, folder / "index"))
    service.load()
    return service


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with in_thread(service) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


def rows_of(service: Service, texts: list[str], **options: Any) -> list[dict[str, Any]]:
    program = service.current.program
    return [
        {"id": None, "labels": [x.model_dump(exclude_none=True) for x in p.labels], "error": None}
        for p in program.batch(texts, **options)
    ]


def test_one_text_gets_the_row_that_a_batch_writes(client: httpx.Client, service: Service) -> None:
    answer = client.post("/v1/classify", json={"text": TEXTS[0], "top_k": 2, "id": 7})
    assert answer.status_code == 200
    assert answer.json() == rows_of(service, TEXTS[:1], top_k=2)[0] | {"id": 7}
    assert answer.headers["x-irr-program"] == service.current.digest


def test_many_texts_get_a_row_each_in_order(client: httpx.Client, service: Service) -> None:
    texts = [TEXTS[0], {"id": "a", "text": TEXTS[1], "page": [3]}, 5, {"id": 1}, "", TEXTS[2]]
    rows = client.post("/v1/classify", json={"texts": texts}).json()["rows"]
    first, second, third = rows_of(service, TEXTS)
    assert rows[0] == first
    assert rows[1] == second | {"id": "a", "meta": {"page": [3]}}
    assert [row["error"] and row["error"]["code"] for row in rows] == [
        None,
        None,
        *["bad_row"] * 2,
        "empty_text",
        None,
    ]
    assert rows[3]["error"]["message"].startswith('text 4: no "text"')
    assert rows[5] == third
    assert client.post("/v1/classify", json={"texts": []}).json() == {"rows": []}


def test_a_request_of_many_texts_lets_others_between(client: httpx.Client, service: Service) -> None:
    body = {"texts": [f"{text} {i}" for i in range(300) for text in TEXTS]}
    with ThreadPoolExecutor(1) as pool:
        many = pool.submit(client.post, "/v1/classify", json=body)
        while "irr_queue_texts 900.0" not in client.get("/metrics").text:
            assert not many.done()
        assert client.post("/v1/classify", json={"text": TEXTS[0]}).status_code == 200
        assert not many.done()
        assert len(many.result().json()["rows"]) == 900


def test_a_call_chooses_part_of_the_label_space_and_a_trace(client: httpx.Client, service: Service) -> None:
    ask = {"text": TEXTS[2], "only": ["wash", "buy"], "trace": True}
    row = client.post("/v1/classify", json=ask).json()
    assert {label["id"] for label in row["labels"]} == {"wash", "buy"}
    assert set(row["trace"]) == {"queries", "candidates", "ranking"}
    assert "trace" not in client.post("/v1/classify", json={"text": TEXTS[2]}).json()
    assert "wash" not in {
        label["id"]
        for label in client.post("/v1/classify", json={"text": TEXTS[2], "without": ["wash"]}).json()[
            "labels"
        ]
    }


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        (b"", 400, "bad_request", "not JSON"),
        (b"[]", 400, "bad_request", "not a JSON object"),
        (b"{}", 400, "bad_request", 'no "text" and no "texts"'),
        (b'{"text": "a", "texts": []}', 400, "bad_request", "both"),
        (b'{"text": 5}', 400, "bad_request", '"text" is not a string'),
        (b'{"text": "\xff"}', 400, "bad_request", "not UTF-8"),
        (b'{"text": "a", "top": 5}', 400, "bad_request", 'unknown key "top"'),
        (b'{"text": "a", "top_k": 0}', 400, "bad_request", "top_k"),
        (b'{"text": "a", "top_k": 1000000}', 400, "bad_request", "top_k"),
        (b'{"text": "a", "recall": 0.5, "precision": 0.5}', 400, "bad_request", "two ways"),
        (b'{"text": "a", "best_f1": true}', 400, "bad_request", "not calibrated"),
        (b'{"text": "a", "within": ["nothing"]}', 400, "bad_request", 'no label has the id "nothing"'),
        (b"[" * 100_000, 400, "bad_request", ""),
        (b'{"text": " \\u0000"}', 422, "empty_text", "nothing to read"),
    ],
)
def test_what_cannot_be_answered_has_an_error_as_rows_have(
    client: httpx.Client, body: bytes, status: int, code: str, says: str
) -> None:
    answer = client.post("/v1/classify", content=body)
    row = answer.json()
    assert (answer.status_code, row["id"], row["labels"], row["error"]["code"]) == (status, None, [], code)
    assert says in row["error"]["message"]


def test_hostile_content_is_only_content(client: httpx.Client) -> None:
    content = b'{"texts": [{"text": "bread", "x": NaN}, {"text": "bread \\ud800", "y": "\\udfff"}]}'
    rows = client.post("/v1/classify", content=content).json()["rows"]
    assert [row["meta"] for row in rows] == [{"x": None}, {"y": "?"}]
    assert all(row["labels"] for row in rows)


def test_labels_are_found_while_one_types(client: httpx.Client) -> None:
    def found(query: str) -> list[str]:
        return [label["id"] for label in client.get("/v1/labels", params={"query": query}).json()["labels"]]

    for label in KITCHEN:
        assert found(label["name"])[0] == label["id"]
        assert label["id"] in found(label["name"][:4])
    assert found("") == []
    assert len(client.get("/v1/labels", params={"query": "b", "limit": 1}).json()["labels"]) <= 1
    wanted = client.get("/v1/labels", params=[("id", "wash"), ("id", "nothing"), ("id", "buy")]).json()[
        "labels"
    ]
    assert [label["id"] for label in wanted] == ["wash", "buy"]


def test_operators_learn_what_it_is_at(client: httpx.Client, service: Service) -> None:
    assert client.get("/healthz").json()["status"] == "ok"
    ready = client.get("/readyz").json()
    assert (ready["status"], ready["labels"]) == ("ready", len(KITCHEN))
    client.post("/v1/classify", json={"text": "bread"})
    client.get("/nowhere")
    text = client.get("/metrics").text
    assert 'irr_requests_total{method="POST",path="/v1/classify",status="200"}' in text
    assert 'path="other"' in text
    assert "nowhere" not in text
    assert "irr_queue_texts 0.0" in text
    assert 'irr_texts_total{outcome="labelled"}' in text


def test_the_description_holds_every_route_and_examples_that_work(client: httpx.Client) -> None:
    description = client.get("/openapi.json").json()
    assert {"/v1/classify", "/v1/labels", "/v1/reload", "/healthz", "/readyz", "/metrics"} <= set(
        description["paths"]
    )
    body = description["paths"]["/v1/classify"]["post"]["requestBody"]["content"]["application/json"]
    assert set(body["examples"]) == {"one", "many"}
    assert client.post("/v1/classify", json=body["examples"]["one"]["value"]).status_code == 200
    for unknown in ("/docs", "/redoc"):  # pages that load scripts from elsewhere
        assert client.get(unknown).json()["error"]["code"] == "not_found"
