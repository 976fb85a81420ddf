"""The doctor of models: for one that knows the answers, one that guesses, and those that cannot be asked."""

from __future__ import annotations

import json
import random
from math import isclose
from pathlib import Path

import pytest

from irr.errors import LMError
from irr.evaluation.model_doctor import QUESTIONS, TERMS, DoctorFinding, doctor, doctor_questions
from irr.lm.protocol import ChatRequest
from tests.doubles.scripted import ScriptedModel
from tests.support import Irr

RIGHT = {question.text: question.right for question in doctor_questions()}
FILE = Path(__file__).parents[1] / "data" / "recorded_esco.jsonl"


def numbers(request: ChatRequest) -> dict[str, int]:
    """The numbered candidates of a ranking prompt."""
    lines = request.messages[-1][1].split("\n")[2:]
    return {name: int(number) for number, _, name in (line.partition(" ") for line in lines)}


def knowing(request: ChatRequest) -> str | LMError:
    assert request.schema is not None
    text = request.messages[-1][1].split("\n")[0].partition(": ")[2]
    right = sorted(RIGHT[text])
    if "terms" in request.schema["properties"]:
        return json.dumps({"terms": right})
    return json.dumps({"ranking": [numbers(request)[name] for name in right]})


def guessing(request: ChatRequest) -> str | LMError:
    assert request.schema is not None
    if "terms" in request.schema["properties"]:
        return LMError("unparsable", "the answer is not the JSON that was asked for")
    shown = list(numbers(request).values())
    return json.dumps({"ranking": random.Random(request.messages[-1][1]).sample(shown, 10)})


def found(model: ScriptedModel) -> dict[str, DoctorFinding]:
    return {finding.task: finding for finding in doctor(model)}


def test_a_question_holds_its_answers_among_fifty_candidates() -> None:
    assert len(RIGHT) == QUESTIONS
    for question in doctor_questions():
        names = [candidate.label.name for candidate in question.candidates]
        assert len(set(names)) == 50
        assert question.right < set(names)
        assert question.text not in {demo.text for demo in question.demos}


def test_a_model_that_knows_the_answers_ranks_better_than_chance() -> None:
    findings = found(ScriptedModel(knowing))
    listwise = findings["listwise"]
    assert findings[TERMS].answers
    assert listwise.ranks
    assert listwise.found == listwise.right == sum(map(len, RIGHT.values()))
    assert isclose(listwise.chance, sum(len(right) ** 2 / 50 for right in RIGHT.values()))
    assert listwise.usage.prompt_tokens == 100 * QUESTIONS


def test_a_model_that_guesses_does_not() -> None:
    findings = found(ScriptedModel(guessing))
    assert not findings["listwise"].ranks
    assert not findings[TERMS].answers
    assert findings[TERMS].problem


def test_a_model_that_gives_no_probabilities_is_asked_for_them_once() -> None:
    findings = found(ScriptedModel(knowing, fails=LMError("bad_request", "needs vLLM")))
    assert (findings["pointwise"].asked, findings["pointwise"].problem) == (1, "needs vLLM")
    assert not findings["pointwise"].ranks


def test_the_command_says_what_a_model_cannot_do_and_its_exit_code_too(irr: Irr) -> None:
    result = irr("doctor", "--lm", f"recorded/{FILE}")
    assert result.returncode == 1, result.stderr
    assert "does NOT rank better than chance" in result.stdout


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("--lm", "none"), "no language model to examine"),
        (("--lm", "openai/x", "--api-base", "http://127.0.0.1:1/v1"), "127.0.0.1:1"),
        (("--lm", "embedded", "--price-per-million", "much"), "is not a pair of prices"),
    ],
)
def test_a_model_that_cannot_be_asked_is_one_line(irr: Irr, call: tuple[str, ...], said: str) -> None:
    result = irr("doctor", *call)
    assert result.returncode == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
