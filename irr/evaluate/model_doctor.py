"""The doctor of language models: asks ten questions with known answers and judges what a model can do."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irr.config import RankMethod, Settings
from irr.errors import LMError, LMUnavailableError
from irr.lm.loop import gather, run_on_loop
from irr.lm.protocol import LanguageModel, metered
from irr.prompts.chat import TermPrompt
from irr.prompts.pack import Demo, TaskPack, load_task
from irr.rank.ranker import by_score, evidence_by
from irr.types import Candidate, Label, Usage

TERMS = "terms"
QUESTIONS = 10
# The texts come from the first two packs, wrong candidates from all of them.
_PACKS = ("default", "esco", "subjects")
_ASKED = 2
_CANDIDATES = Settings().retrieve.candidates
_RANK = Settings().rank
# A model that guesses looks better than chance once in a hundred times.
_SIGNIFICANT = 0.01
_ANSWERED = 0.9


class DoctorQuestion(NamedTuple):
    """A text, its right labels, and candidates in random order that hold them."""

    task: TaskPack
    text: str
    right: frozenset[str]
    candidates: tuple[Candidate, ...]
    demos: tuple[Demo, ...]


@dataclass(frozen=True)
class DoctorFinding:
    """The result of a model in one task: to propose terms, or to rank by one method.

    Attributes:
        task: `terms`, or the rank method.
        answered: Questions with an answer of the right form.
        problem: The problem of the first question without one; "" if there is none.
        found: Right labels among the first n of each ranking, where n is the number of right labels.
        right: Right labels of the answered questions.
        chance: The expected number found by guessing.
        p_value: The probability to find as many by guessing.
    """

    task: str
    asked: int
    answered: int
    problem: str
    found: int
    right: int
    chance: float
    p_value: float
    usage: Usage
    seconds: float

    @property
    def answers(self) -> bool:
        """Whether it answers nearly all questions."""
        return self.asked == QUESTIONS and self.answered >= _ANSWERED * self.asked

    @property
    def ranks(self) -> bool:
        """Whether it ranks better than chance."""
        return self.answers and self.p_value < _SIGNIFICANT


def doctor(model: LanguageModel) -> list[DoctorFinding]:
    """Asks the questions for terms, then for a ranking by each method; an `LMError` if it is out of reach."""
    return run_on_loop(_findings(model, doctor_questions()))


def doctor_questions() -> list[DoctorQuestion]:
    """The questions: demos of task packs, each with the next two of its pack as its own demos."""
    tasks = [load_task(name) for name in _PACKS]
    names = list(dict.fromkeys(term for task in tasks for demo in task.demos for term in demo.terms))
    draw = random.Random(0)
    asked = []
    for task in tasks[:_ASKED]:
        for number, demo in enumerate(task.demos):
            wrong = [name for name in names if name not in demo.terms]
            choices = [*demo.terms, *draw.sample(wrong, min(len(wrong), _CANDIDATES - len(demo.terms)))]
            draw.shuffle(choices)
            others = (*task.demos[number + 1 :], *task.demos[:number])
            candidates = tuple(Candidate(label=Label(id=name, name=name), score=0.0) for name in choices)
            asked.append(DoctorQuestion(task, demo.text, frozenset(demo.terms), candidates, others[:2]))
    return asked[:QUESTIONS]


async def _findings(model: LanguageModel, asked: Sequence[DoctorQuestion]) -> list[DoctorFinding]:
    async def propose(question: DoctorQuestion) -> list[str]:
        prompt = TermPrompt(question.task, 0)
        return prompt.read(await model.chat(prompt.request(question.text, question.demos)))

    async def order(method: RankMethod, question: DoctorQuestion) -> list[str]:
        evidence = evidence_by(method, model, question.task, _RANK)
        weights = await evidence.weigh(question.text, question.candidates, question.demos)
        return [label.id for label in by_score(question.candidates, weights).labels]

    findings = [await _finding(TERMS, propose, asked)]
    methods = [method for method in RankMethod if method is not RankMethod.AUTO]
    return findings + [await _finding(method, partial(order, method), asked) for method in methods]


async def _finding(
    task: str, ask: Callable[[DoctorQuestion], Awaitable[list[str]]], asked: Sequence[DoctorQuestion]
) -> DoctorFinding:
    async def answer(question: DoctorQuestion) -> list[str] | LMError:
        try:
            return await ask(question)
        except LMError as e:
            if e.retryable or isinstance(e, LMUnavailableError):
                raise
            return e

    start = time.perf_counter()
    with metered() as meter:
        answers = [await answer(asked[0])]
        # If the model lacks the method, the first question fails.
        if not (isinstance(answers[0], LMError) and answers[0].code == "bad_request"):
            answers += await gather(*map(answer, asked[1:]))
    good = [(q, a) for q, a in zip(asked, answers, strict=False) if not isinstance(a, LMError)]
    judged = [(q, sum(label in q.right for label in a[: len(q.right)])) for q, a in good if task != TERMS]
    found = sum(hits for _, hits in judged)
    chances = _by_chance([q for q, _ in judged])
    return DoctorFinding(
        task=task,
        asked=len(answers),
        answered=len(good),
        problem=next((a.message for a in answers if isinstance(a, LMError)), ""),
        found=found,
        right=sum(len(q.right) for q, _ in judged),
        chance=float(chances @ np.arange(len(chances))),
        p_value=min(1.0, float(chances[found:].sum())),
        usage=meter.usage,
        seconds=time.perf_counter() - start,
    )


def _by_chance(asked: Sequence[DoctorQuestion]) -> NDArray[np.float64]:
    """The distribution of the right labels found by guessing, a sum of hypergeometric variables."""
    total = np.ones(1)
    for question in asked:
        right, all_ = len(question.right), len(question.candidates)
        ways = [comb(right, hits) * comb(all_ - right, right - hits) for hits in range(right + 1)]
        total = np.convolve(total, np.array(ways) / comb(all_, right))
    return total
