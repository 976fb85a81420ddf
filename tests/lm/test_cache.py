"""A model within a budget: what is known costs nothing, what is paid for is kept, the budget is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from irr.errors import BudgetSpentError, LMError
from irr.lm.cache import Answers, Budget, CachedModel
from irr.lm.protocol import ChatRequest, count, metered
from irr.types import Usage
from tests.doubles.scripted import ScriptedModel, chat


class SlowModel(ScriptedModel):
    """Answers a while later, and counts what that costs even where the answer is of no use."""

    def __init__(self, fails: Callable[[str], bool] = lambda text: False) -> None:
        super().__init__()
        self._of_no_use = fails

    async def chat(self, request: ChatRequest) -> str:
        self.requests.append(request)
        text = request.messages[0][1]
        await asyncio.sleep(0.05)
        count(Usage(calls=1, prompt_tokens=3))
        if self._of_no_use(text):
            raise LMError("truncated", "the answer was cut off")
        return text.upper()


def test_a_budget_refuses_when_what_is_under_way_is_kept(tmp_path: Path) -> None:
    model, answers = SlowModel(), Answers(tmp_path / "answers")
    cached = CachedModel(model, Budget(2), answers)
    kept = []

    async def ask(text: str) -> str:
        try:
            return await cached.chat(chat(text))
        except BudgetSpentError:
            kept.append(answers.requests)
            raise

    async def several() -> list[str | BaseException]:
        return await asyncio.gather(*map(ask, "abcd"), return_exceptions=True)

    found = asyncio.run(several())
    assert found[:2] == ["A", "B"]
    assert [str(error) for error in found[2:]] == ["the budget of 2 calls is spent"] * 2
    assert kept == [2, 2]
    # A later call goes on for free, and within what is left of a larger budget.
    again = Answers(tmp_path / "answers")
    larger = CachedModel(model, Budget(3, spent=again.requests), again)
    for text in "abc":
        assert asyncio.run(larger.chat(chat(text))) == text.upper()
    with pytest.raises(BudgetSpentError, match="budget of 3 calls"):
        asyncio.run(larger.chat(chat("d")))
    assert len(model.requests) == 3


def test_an_answer_whose_caller_is_gone_is_kept() -> None:
    answers = Answers()
    model = SlowModel()

    async def cancelled() -> str:
        cached = CachedModel(model, Budget(), answers)
        request = asyncio.ensure_future(cached.chat(chat("a")))
        await asyncio.sleep(0.01)
        request.cancel()
        await asyncio.sleep(0.1)
        return await cached.chat(chat("a"))

    assert asyncio.run(cancelled()) == "A"
    assert (len(model.requests), answers.requests) == (1, 1)


def test_a_request_that_fails_is_paid_for_and_asked_again(tmp_path: Path) -> None:
    model, budget = SlowModel(fails=lambda text: text == "b"), Budget(3)
    cached = CachedModel(model, budget, Answers(tmp_path / "answers"))
    with metered() as meter:
        assert asyncio.run(cached.chat(chat("a"))) == "A"
        for _ in range(2):
            with pytest.raises(LMError, match="cut off"):
                asyncio.run(cached.chat(chat("b")))
        with pytest.raises(BudgetSpentError):
            asyncio.run(cached.chat(chat("b")))
    assert meter.usage == budget.usage == Answers(tmp_path / "answers").spent
    assert meter.usage == Usage(calls=3, prompt_tokens=9)


def test_what_is_asked_with_a_temperature_is_asked_each_time() -> None:
    model = SlowModel()
    cached = CachedModel(model, Budget())
    for _ in range(2):
        asyncio.run(cached.chat(ChatRequest((("user", "a"),), temperature=1.0)))
    assert len(model.requests) == 2
