"""The service over a program with a language model: what it counts, what it says where the model is gone."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

import irr
from irr.errors import LMError, LMUnavailableError
from irr.workbench.serve.service import Service
from tests.doubles.hash_encoder import HashEncoder
from tests.doubles.scripted import Reply, ScriptedModel
from tests.doubles.served import in_thread


def _served(folder: Path, reply: Reply) -> Service:
    def build() -> irr.InferRetrieveRank:
        labels = ["bake bread", "wash dishes"]
        return irr.build(labels, encoder=HashEncoder(), rank_lm=ScriptedModel(reply), index_folder=folder)

    service = Service(build)
    service.load()
    return service


def test_tokens_and_fallbacks_are_counted(tmp_path: Path) -> None:
    def reply(request: object) -> str | LMError:
        return LMError("timeout", "no answer") if "zeppelin" in str(request) else '{"ranking": [2, 1]}'

    with in_thread(_served(tmp_path, reply)) as address, httpx.Client(base_url=address, timeout=30) as client:
        row = client.post("/v1/classify", json={"text": "bread"}).json()
        assert (row["error"], row.get("fallbacks")) == (None, None)
        late = client.post("/v1/classify", json={"text": "a zeppelin of bread"}).json()
        assert (late["labels"][0]["name"], late["fallbacks"][0]["code"]) == ("bake bread", "timeout")
        figures = client.get("/metrics").text
    assert 'irr_lm_tokens_total{kind="prompt",stage="rank"} 100.0' in figures
    assert 'irr_lm_tokens_total{kind="completion",stage="rank"} 7.0' in figures
    assert 'irr_fallbacks_total{code="timeout",stage="rank"} 1.0' in figures


@pytest.mark.parametrize("body", [{"text": "bread"}, {"texts": ["bread", "dishes"]}])
def test_a_model_that_is_gone_is_said(tmp_path: Path, body: dict[str, object]) -> None:
    def reply(_request: object) -> LMError:
        return LMUnavailableError("refused", "the server refuses the key", "set OPENAI_API_KEY")

    with in_thread(_served(tmp_path, reply)) as address:
        answer = httpx.post(f"{address}/v1/classify", json=body, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
    assert answer.headers["retry-after"]
