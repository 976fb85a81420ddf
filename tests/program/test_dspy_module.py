"""A program as a DSPy module: DSPy's optimizers compile it, and what they compiled is what runs."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import irr
from irr.errors import LMError, LMUnavailableError
from irr.lm.protocol import ChatRequest
from irr.program.dspy_module import dspy_model, prepare_dspy
from tests.doubles.scripted import ScriptedModel

dspy = prepare_dspy()
# Nothing in the texts says what they mean: only a model that was told the rule knows it.
MEANT = {"zorvik": "bake bread", "plimbo": "wash dishes", "quandle": "plan menus", "frotzel": "buy food"}
LABELS = [*MEANT.values(), *(f"kind {number} of things" for number in range(60))]
EXAMPLES = [
    dspy.Example(text=f"{word} in case {number}", gold=name).with_inputs("text")
    for number in range(5)
    for word, name in MEANT.items()
]


def told(request: ChatRequest) -> str:
    """Knows what the words mean once its instructions hold the rule; writes the rule where it is asked to."""
    *before, (_, question) = request.messages
    if request.schema is None:
        field = re.search(r"starting with the field `(\[\[ ## \w+ ## \]\])`", question)
        return f"{field[1]}\nthe secret rule" if field else "```\nthe secret rule\n```"
    fields = request.schema["properties"]
    if not {"terms", "ranking"} & fields.keys():
        return json.dumps(dict.fromkeys(fields, "the secret rule"))
    able = any("secret rule" in text for _, text in before)
    meant = next((name for word, name in MEANT.items() if word in question), "") if able else ""
    if "terms" in fields:
        return json.dumps({"terms": [meant or "nothing of use"]})
    names = re.findall(r"^\d+ (.*)$", question, re.M)
    return json.dumps({"ranking": [names.index(meant) + 1 if meant in names else len(names)]})


def first_label(
    example: Any, prediction: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
) -> Any:
    """A user's own metric."""
    score = float(prediction["labels"][:1] == [example.gold])
    return dspy.Prediction(score=score, feedback=f"right is {example.gold}") if pred_name else score


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(told)


@pytest.fixture
def program(model: ScriptedModel, encoder: irr.SentenceEncoder, index_folder: Path) -> irr.InferRetrieveRank:
    return irr.build(LABELS, encoder=encoder, infer_lm=model, rank_lm=model, index_folder=index_folder)


@contextmanager
def writer(model: ScriptedModel) -> Iterator[Any]:
    """The model that writes instructions, as a user sets it."""
    lm = dspy_model(model, temperature=1.0)
    with dspy.context(lm=lm, num_threads=4, disable_history=True):
        yield lm


def score(module: Any) -> float:
    return sum(first_label(example, module(text=example.text)) for example in EXAMPLES) / len(EXAMPLES)


def test_its_predictors_are_the_prompts_and_its_answers_those_of_the_program(
    program: irr.InferRetrieveRank,
) -> None:
    module = program.module()
    assert [name for name, _ in module.named_predictors()] == ["infer", "rank"]
    assert [name for name, _ in program.module(["rank"]).named_predictors()] == ["rank"]
    for example in EXAMPLES[:4]:
        found, own = module(text=example.text), program(example.text, 50, trace=True)
        assert found["prediction"] == own
        assert found["labels"] == [label.id for label in own.labels]
        assert own.trace is not None
        assert found["candidates"] == [candidate.label.id for candidate in own.trace.candidates]
    assert copy.deepcopy(module).program is program


def gepa(lm: Any) -> Any:
    return dspy.GEPA(metric=first_label, reflection_lm=lm, max_metric_calls=120, seed=0)


COMPILED: dict[str, Callable[[Any, Any], Any]] = {
    "gepa": lambda module, lm: gepa(lm).compile(module, trainset=EXAMPLES[:10], valset=EXAMPLES[10:]),
    "mipro": lambda module, lm: dspy.MIPROv2(metric=first_label, auto="light").compile(
        module, trainset=EXAMPLES
    ),
    "bootstrap": lambda module, lm: dspy.BootstrapFewShotWithRandomSearch(
        metric=first_label, num_candidate_programs=2
    ).compile(module, trainset=EXAMPLES),
    "simba": lambda module, lm: dspy.SIMBA(metric=first_label, bsize=8, max_steps=2).compile(
        module, trainset=EXAMPLES, seed=1
    ),
}


@pytest.mark.parametrize("optimizer", COMPILED)
def test_any_optimizer_compiles_it_and_the_program_answers_as_the_module(
    program: irr.InferRetrieveRank, model: ScriptedModel, optimizer: str
) -> None:
    before = score(program.module())
    with writer(model) as lm:
        compiled = COMPILED[optimizer](program.module(), lm)
    after = irr.from_module(compiled)
    for example in EXAMPLES[:8]:
        assert [label.id for label in after(example.text, 50).labels] == compiled(text=example.text)["labels"]
    if optimizer in ("gepa", "mipro"):  # those that write instructions
        assert before < 0.5 < score(compiled) == 1.0


def test_what_was_compiled_is_frozen_and_scores_the_same(
    program: irr.InferRetrieveRank, model: ScriptedModel, tmp_path: Path, index_folder: Path
) -> None:
    with writer(model) as lm:
        compiled = COMPILED["gepa"](program.module(), lm)
    irr.freeze(irr.from_module(compiled), tmp_path / "program")
    loaded = irr.load(tmp_path / "program", infer_lm=model, rank_lm=model, index_folder=index_folder)
    assert score(loaded.module()) == score(compiled) == 1.0


def test_a_model_that_fails_is_a_fallback_and_one_that_is_gone_an_error(
    encoder: irr.SentenceEncoder, index_folder: Path
) -> None:
    def built(error: LMError) -> Any:
        failing = ScriptedModel(lambda request: error)
        return irr.build(LABELS, encoder=encoder, infer_lm=failing, index_folder=index_folder).module()

    prediction = built(LMError("timeout", "no answer", retryable=True))(text="bake bread")
    assert [fallback.code for fallback in prediction["prediction"].fallbacks] == ["timeout"]
    assert prediction["labels"][0] == "bake bread"
    with pytest.raises(LMUnavailableError):
        built(LMUnavailableError("refused", "no such model"))(text="bake bread")
