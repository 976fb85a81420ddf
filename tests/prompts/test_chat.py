"""What is sent without DSPy is what DSPy would send, and answers read alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from irr.config import Settings
from irr.errors import LMError
from irr.lm.loop import run_on_loop
from irr.program.dspy_module import (
    LeanJSONAdapter,
    as_lm_error,
    prepare_dspy,
)
from irr.program.program import build
from irr.prompts.chat import Prompt, RankingPrompt, TermPrompt
from irr.prompts.pack import Demo, TaskPack, load_task
from tests.doubles.hash_encoder import HashEncoder
from tests.doubles.scripted import ScriptedModel

dspy = prepare_dspy()
TASK = load_task("esco")
TRICKY = TASK.model_copy(
    update={
        "notes": 'Mind "quotes", {braces} and [[ ## text ## ]]',
        "demos": (
            Demo(text='Zeile 1\nZeile 2 "so" 🥟', terms=("包饺子 (dumplings)", "C++, \\n")),
            Demo(text="{curly} <b>", terms=("ελληνικά",), candidates=("a", "ελληνικά", "b 'c'")),
        ),
    }
)
TEXTS = ["Bake bread", "two\nlines", '包饺子 "quoted" {x}', "[[ ## terms ## ]] ignore", "long " * 5_000]


@pytest.mark.parametrize("task", [TASK, TRICKY], ids=["plain", "tricky"])
@pytest.mark.parametrize("demos", [0, 1, 5])
@pytest.mark.parametrize("text", TEXTS, ids=["short", "lines", "unicode", "marker", "long"])
def test_the_program_and_its_module_send_the_same_messages(
    task: TaskPack, demos: int, text: str, tmp_path: Path
) -> None:
    model = ScriptedModel(lambda request: '{"terms": ["x"], "ranking": [1]}')
    prompts = Settings().replace({"infer.demos": demos, "rank.demos": demos})
    program = build(
        ["bake bread", "wash, \n dishes", "包饺子"],
        encoder=HashEncoder(),
        infer_lm=model,
        rank_lm=model,
        task=task,
        settings=prompts,
        index_folder=tmp_path,
    )
    prediction = program(text)
    ours, model.requests = model.requests, []
    assert program.module()(text=text)["prediction"].labels == prediction.labels
    assert len(ours) == len(model.requests) > 1
    for one, theirs in zip(ours, model.requests, strict=True):
        assert one.messages == theirs.messages
        assert one.schema == theirs.schema
        assert one.max_tokens == theirs.max_tokens
        assert one.temperature == theirs.temperature == 0.0
        assert one.about == theirs.about


PROMPTS = {"terms": TermPrompt(TASK, 0).prompt, "ranking": RankingPrompt(TASK, 0).prompt}
SIGNATURES = {
    name: dspy.Signature(
        {"text": (str, dspy.InputField(desc="t")), name: (list[prompt.item], dspy.OutputField(desc="d"))}, "x"
    )
    for name, prompt in PROMPTS.items()
}
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 99) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("name", PROMPTS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=VALUE, around=st.sampled_from(["%s", "Sure! %s Done.", "```json\n%s\n```", "%s,", '{"x": %s']))
@example(value=["a", "b"], around='{"terms": %s, "ranking": ["1", 2.0]}')
@example(value="[1, 2]", around='{"ranking": %s}')
def test_answers_read_as_dspy_reads_them(name: str, value: Any, around: str) -> None:
    body = value if around.startswith("{") else {name: value}
    answer = around % json.dumps(body)
    _same(PROMPTS[name], SIGNATURES[name], answer)


@pytest.mark.parametrize("name", PROMPTS)
@settings(max_examples=200, deadline=None)
@given(answer=st.text(st.sampled_from('{}[]",:terms ranking12\n`\\'), max_size=60))
@example(answer='{"terms": ["a", "b')
@example(answer='{"ranking": [3, 1')
@example(answer='I think {"terms": ["a"]} is right')
@example(answer='{"terms": "["}')
@example(answer='{"ranking": "["}')
@example(answer="{\"terms\": \"('a', 'b')\"}")
@example(answer="[" * 3_000)
def test_torn_answers_read_as_dspy_reads_them(name: str, answer: str) -> None:
    _same(PROMPTS[name], SIGNATURES[name], answer)


def _same(prompt: Prompt, signature: Any, answer: str) -> None:
    try:
        theirs = LeanJSONAdapter().parse(signature, answer)[prompt.output]
    except Exception as e:
        assert as_lm_error(e).code == "unparsable"
        with pytest.raises(LMError) as caught:
            prompt.read(answer)
        assert caught.value.code == "unparsable"
    else:
        assert prompt.read(answer) == theirs


def test_what_is_constant_is_rendered_once() -> None:
    ask = RankingPrompt(TASK, 4)
    one, two = ask.request("one", ["a", "b"], 2), ask.request("two", ["c"], 1)
    assert all(a is b for a, b in zip(one.messages[:-1], two.messages[:-1], strict=True))
    model = ScriptedModel(lambda request: '{"ranking": [1]}')
    assert run_on_loop(model.chat(one)) == '{"ranking": [1]}'
