"""Infer by a language model: terms join the queries, and a model that fails costs none of them."""

from __future__ import annotations

import json

import pytest

from irr.config import InferSettings
from irr.errors import LMError
from irr.infer.lm_inferer import LMInferer
from irr.infer.spans import SpanInferer
from irr.lm.protocol import ChatRequest
from irr.prompts.pack import load_task
from irr.types import Query, QueryKind
from tests.doubles.scripted import ScriptedModel

BASE = SpanInferer(InferSettings())
TEXT = "You will knead dough at night"


def inferer(model: ScriptedModel, demos: int = 2) -> LMInferer:
    return LMInferer(BASE, model, load_task("esco"), demos)


def terms(queries: tuple[Query, ...]) -> list[str]:
    return [query.text for query in queries if query.kind is QueryKind.TERM]


def test_terms_join_passages_and_spans() -> None:
    model = ScriptedModel(lambda request: '{"terms": ["bake bread", " bake bread ", "", "work nights"]}')
    first, second = inferer(model).infer([TEXT, "C++"])
    assert terms(first.queries) == ["bake bread", "work nights"]
    assert first.queries[: -len(terms(first.queries))] == BASE.infer([TEXT])[0].queries
    assert first.fallback is None
    assert first.usage.calls == 1
    assert first.usage.cached_tokens == 60
    assert terms(second.queries) == ["bake bread", "work nights"]


def test_the_schema_bounds_the_answer_and_the_constant_part_of_the_prompt_comes_first() -> None:
    model = ScriptedModel(lambda request: '{"terms": ["x"]}')
    inferer(model).infer([TEXT, "Another sentence"])
    one, other = model.requests
    schema = one.schema
    assert schema is not None
    assert schema["properties"]["terms"]["maxItems"] <= 10
    assert schema["properties"]["terms"]["items"]["maxLength"] <= 100
    assert one.messages[:-1] == other.messages[:-1]
    assert len(one.messages) == 1 + 2 * 2 + 1
    assert "Another sentence" in other.messages[-1][1]


def test_a_long_text_is_asked_about_in_parts() -> None:
    def reply(request: ChatRequest) -> str:
        return json.dumps({"terms": ["sourdough" if "sourdough" in request.messages[-1][1] else "filler"]})

    model = ScriptedModel(reply)
    (inference,) = inferer(model).infer(["filler words " * 1_000 + " and sourdough"])
    assert len(model.requests) == 2
    assert terms(inference.queries) == ["filler", "sourdough"]
    assert inference.usage.calls == 2


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (LMError("timeout", "no answer within 5 s"), "timeout"),
        (LMError("truncated", "the answer was cut"), "truncated"),
        ("I think the skills are baking and cooking.", "unparsable"),
        ('{"skills": ["baking"]}', "unparsable"),
        ('{"terms": "baking"}', "unparsable"),
    ],
)
def test_a_model_that_fails_leaves_the_other_queries_and_says_so(reply: str | LMError, code: str) -> None:
    (inference,) = inferer(ScriptedModel(lambda request: reply)).infer([TEXT])
    assert inference.queries == BASE.infer([TEXT])[0].queries
    assert inference.fallback is not None
    assert (inference.fallback.stage, inference.fallback.code) == ("infer", code)
