"""A served model against a real vLLM: schemas kept, scores right, the cache used, a server that returns."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from irr.errors import IrrError, LMError, MissingExtraError, UsageError
from irr.lm.loop import run_on_loop
from irr.lm.packaged import packaged_folder
from irr.lm.protocol import metered
from irr.lm.server_client import ServedModel
from irr.lm.vllm_server import ServerOptions, running_server
from irr.program.dspy_module import as_lm_error, dspy_model, prepare_dspy, schema_config
from tests.doubles.dspy_calls import dspy_context
from tests.vllm.live import VARIABLE, LiveServer

TEXT = "Strong knowledge of HTML and CSS, solid understanding of Angular, React or similar frameworks."
SKILLS = ["CSS", "drive vehicles", "bake bread", "JavaScript frameworks", "包饺子 (dumplings)"]
DEMOS = "".join(
    f"Sentence: {text}\nSkill: {skill}\n\n"
    for text, skill in [
        ("You drive our vans to customers in the region.", "drive vehicles"),
        ("You bake fresh rolls every morning for our guests.", "bake bread"),
        ("Good command of English, spoken and written.", "English"),
        ("You manage a team of five people.", "manage staff"),
    ]
)


def bounded(name: str, item: dict[str, Any], least: int, most: int) -> dict[str, Any]:
    array = {"type": "array", "items": item, "minItems": least, "maxItems": most}
    return {
        "type": "object",
        "properties": {name: array},
        "required": [name],
        "additionalProperties": False,
    }


async def ask(model: ServedModel, signature: str, schema: dict[str, Any], tokens: int, **inputs: str) -> Any:
    predict = prepare_dspy().Predict(signature)
    try:
        with dspy_context(dspy_model(model)):
            return await predict.acall(**inputs, config=schema_config(schema) | {"max_tokens": tokens})
    except Exception as e:
        raise as_lm_error(e) from None


def infer(model: ServedModel, text: str = TEXT, tokens: int = 120) -> Any:
    schema = bounded("terms", {"type": "string", "minLength": 1, "maxLength": 20}, 1, 3)
    return ask(model, "text -> terms: list[str]", schema, tokens, text=text)


def test_terms_stay_within_the_bounds(served: ServedModel) -> None:
    with metered() as meter:
        terms = run_on_loop(infer(served)).terms
    assert 1 <= len(terms) <= 3
    assert all(1 <= len(term) <= 20 for term in terms)
    assert meter.usage.calls == 1
    assert meter.usage.prompt_tokens > 20
    assert 0 < meter.usage.completion_tokens <= 120
    assert meter.usage.seconds > 0


def test_numbers_stay_within_the_candidates(served: ServedModel) -> None:
    schema = bounded("ranking", {"type": "integer", "minimum": 1, "maximum": 5}, 3, 5)
    options = "\n".join(f"{i}. {skill}" for i, skill in enumerate(SKILLS, 1))
    signature = "text, options -> ranking: list[int]"
    ranking = run_on_loop(ask(served, signature, schema, 60, text=TEXT, options=options)).ranking
    assert 3 <= len(ranking) <= 5
    assert set(ranking) <= set(range(1, 6))


def test_an_answer_that_is_cut_off_is_an_error(served: ServedModel) -> None:
    with pytest.raises(LMError) as caught:
        run_on_loop(infer(served, tokens=6))
    assert caught.value.code == "truncated"


def test_what_is_too_long_or_unknown_is_an_error(served: ServedModel, live_server: LiveServer) -> None:
    long = "word " * 9_000
    for work in (
        infer(served, long),
        served.probabilities("", long, ["a"], " yes", " no"),
        served.probabilities("a", "b", ["a", long], " yes", " no"),
    ):
        with pytest.raises(LMError) as caught:
            run_on_loop(work)
        assert caught.value.code == "too_long"
    with pytest.raises(LMError) as caught:
        run_on_loop(infer(ServedModel("another", live_server.server.api_base)))
    assert caught.value.code == "refused"


def test_scores_are_those_of_the_model_itself(served: ServedModel) -> None:
    """Against transformers, one prompt at a time, no cache; in float32, where vLLM has bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = packaged_folder()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    def logprobs(tokens: list[int]) -> Any:
        with torch.inference_mode():
            return model(torch.tensor([tokens])).logits[0].log_softmax(-1)

    context = f"Sentence: {TEXT}\nSkill:"
    head = ids(DEMOS + context)
    items = [f" {skill}\nDoes it fit?" for skill in SKILLS[:3]]
    yes, no = ids(" yes")[0], ids(" no")[0]
    expected = []
    for item in items:
        last = logprobs(head + ids(item))[-1]
        expected.append(1 / (1 + math.exp(float(last[no] - last[yes]))))
    assert run_on_loop(served.probabilities(DEMOS, context, items, " yes", " no")) == pytest.approx(
        expected, abs=0.03
    )


def test_what_is_the_same_for_all_texts_is_read_from_the_cache(served: ServedModel) -> None:
    async def several() -> None:
        for i in range(3):  # one after the other, as only what was answered is in the cache
            await infer(served, f"{DEMOS * 3}{i}")

    with metered() as meter:
        run_on_loop(several())
    assert meter.usage.cached_tokens >= 0.5 * meter.usage.prompt_tokens


def test_many_at_a_time_from_a_thread_of_the_callers(served: ServedModel) -> None:
    async def many() -> list[Any]:
        return await asyncio.gather(*(infer(served, f"Job {i}: {TEXT}") for i in range(12)))

    with metered() as meter:
        answers = run_on_loop(many())
    assert all(1 <= len(answer.terms) <= 3 for answer in answers)
    assert meter.usage.calls == 12


def test_a_server_that_is_killed_in_mid_run_and_comes_back(live_server: LiveServer) -> None:
    server = live_server.server
    model = ServedModel(server.name, server.api_base, retries=1)

    async def one(i: int) -> str:
        try:
            await infer(model, f"Job {i}: {TEXT}")
        except LMError as e:
            return e.code
        return "answered"

    async def killed() -> list[str]:
        work = [asyncio.ensure_future(one(i)) for i in range(16)]
        await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(live_server.kill)
        return list(await asyncio.gather(*work))

    codes = run_on_loop(killed())
    assert set(codes) == {"answered", "unreachable"}
    live_server.restart()
    assert live_server.server.api_base == server.api_base
    assert run_on_loop(one(0)) == "answered"  # by the same object, over new connections


def test_a_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where the log stays
    (tmp_path / "config.json").write_text('{"model_type": "no such thing"}')
    with (
        pytest.raises(IrrError, match="no such thing"),
        running_server(str(tmp_path), ServerOptions(python=os.environ[VARIABLE])),
    ):
        pass


def test_what_is_missing_is_named() -> None:
    with (
        pytest.raises(MissingExtraError, match="pip install"),
        running_server("embedded", ServerOptions(python=sys.executable)),
    ):
        pass
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"port {port}"),
            running_server("embedded", ServerOptions(port=port, python=os.environ[VARIABLE])),
        ):
            pass
