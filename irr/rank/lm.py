"""Rank by a language model: listwise, pointwise or by likelihood, fused with the retrieval score."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from irr.errors import LMError
from irr.lm.base import LanguageModel
from irr.lm.loop import run_on_loop
from irr.lm.usage import metered
from irr.prompts.pack import ChooseDemos, Demo, TaskPack
from irr.prompts.templates import RankingPrompt
from irr.rank.base import by_score
from irr.types import Candidate, Fallback, Ranking

# What stands for a text that says nothing, to learn what a model would answer anyway.
_NOTHING = "N/A"


class Evidence(Protocol):
    """What a language model has to say for each candidate of a text: more is better."""

    async def weigh(
        self, text: str, candidates: Sequence[Candidate], demos: Sequence[Demo] | None = None
    ) -> list[float]:
        """Returns one number for each candidate; with examples of this text's own where `demos`.

        Raises:
            LMError: If the model gives no usable answer.
        """
        ...


class LMRanker:
    """Orders candidates by retrieval score + weight · evidence.

    Args:
        evidence: What a model says for each candidate.
        weight: Of the evidence.
        depth: How many candidates the model sees; those after them follow as retrieval ordered them.
        choose: Chooses the examples that are shown with each text, instead of the task's.
    """

    def __init__(
        self, evidence: Evidence, weight: float, depth: int, choose: ChooseDemos | None = None
    ) -> None:
        self._evidence = evidence
        self._weight = weight
        self._depth = depth
        self._choose = choose

    def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
        """Ranks each text's candidates; in retrieval order, and saying so, where the model failed."""
        demos = self._choose(texts) if self._choose else [None] * len(texts)
        return run_on_loop(self._rank(texts, candidates, demos))

    async def _rank(
        self,
        texts: Sequence[str],
        candidates: Sequence[Sequence[Candidate]],
        demos: Sequence[Sequence[Demo] | None],
    ) -> list[Ranking]:
        return await asyncio.gather(*map(self._one, texts, candidates, demos))

    async def _one(self, text: str, candidates: Sequence[Candidate], demos: Sequence[Demo] | None) -> Ranking:
        retrieval = [candidate.score for candidate in candidates]
        if not candidates:
            return by_score(candidates, retrieval)
        with metered() as meter:
            try:
                evidence = await self._evidence.weigh(text, candidates[: self._depth], demos)
            except LMError as e:
                fallback = Fallback(stage="rank", code=e.code, message=e.message)
                ranking = by_score(candidates, retrieval)
                return ranking.model_copy(update={"usage": meter.usage, "fallback": fallback})
        fused = fuse(retrieval, evidence, self._weight)
        return by_score(candidates, fused).model_copy(update={"usage": meter.usage})


def fuse(retrieval: Sequence[float], evidence: Sequence[float], weight: float) -> list[float]:
    """Retrieval scores with the weighted evidence for the first of them.

    Nobody spoke for the candidates that the model did not see: they count as its worst.
    """
    weights = [*evidence, *[min(evidence)] * (len(retrieval) - len(evidence))]
    return [score + weight * w for score, w in zip(retrieval, weights, strict=True)]


class Listwise:
    """The model sees all candidates, numbered, and names the best by number, in order.

    The evidence is 1 for the first that it names, falling evenly to 1 / n for the n-th, 0 for the rest.

    Args:
        model: Does the ranking.
        task: What it is told.
        demos: How many examples it is shown.
        count: How many candidates it is to name.
        window: If not 0, it sees at most this many at a time, from the last to the first, each window
            overlapping the one before by half (Sun et al. 2023, arXiv 2304.09542).
    """

    def __init__(
        self, model: LanguageModel, task: TaskPack, demos: int, count: int = 10, window: int = 0
    ) -> None:
        self._model = model
        self._ask = RankingPrompt(task, demos)
        self._count = count
        self._window = window

    async def weigh(
        self, text: str, candidates: Sequence[Candidate], demos: Sequence[Demo] | None = None
    ) -> list[float]:
        """Returns 1 down to 1 / n for the n candidates named, 0 for the others."""
        names = [candidate.label.name for candidate in candidates]
        order = list(range(len(names)))
        size = self._window or len(names)
        named: list[int] = []
        for start in _window_starts(len(names), size):
            window = order[start : start + size]
            named = [window[i] for i in await self._name(text, [names[i] for i in window], demos)]
            order[start : start + size] = named + [i for i in window if i not in named]
        return places(named, len(names))

    async def _name(self, text: str, names: Sequence[str], demos: Sequence[Demo] | None) -> list[int]:
        answer = await self._model.chat(self._ask.request(text, names, self._count, demos))
        named = self._ask.read(answer, len(names))
        if not named:
            raise LMError("empty", "the answer names no candidate")
        return named


def places(named: Sequence[int], count: int) -> list[float]:
    """The listwise evidence for `count` candidates, of which some were named, best first."""
    evidence = [0.0] * count
    for position, i in enumerate(named):
        evidence[i] = 1 - position / len(named)
    return evidence


class Pointwise:
    """The model answers yes or no to each candidate by itself; the evidence is how sure it is of yes.

    Against the model's liking for a label whatever the text, its log-odds for a text that says nothing are
    taken off (Zhao et al. 2021, arXiv 2102.09690).

    Args:
        model: Does the judging.
        task: What it is asked.
        demos: How many examples it is shown, each with a label that applies and one that does not.
    """

    def __init__(self, model: LanguageModel, task: TaskPack, demos: int) -> None:
        self._model = model
        self._text = task.text[:1].upper() + task.text[1:]
        self._label = task.label[:1].upper() + task.label[1:]
        self._question = f"{task.rank.question} Answer yes or no.\n{task.notes_of(task.rank)}\n\n"
        self._prefix = self._shown(task.demos_of(task.rank), task.count_of(task.rank, demos))
        self._content_free = _ContentFree(partial(self._log_odds, self._prefix))

    async def weigh(
        self, text: str, candidates: Sequence[Candidate], demos: Sequence[Demo] | None = None
    ) -> list[float]:
        """Returns corrected probabilities of yes, in (0, 1)."""
        prefix = self._shown(demos, len(demos)) if demos else self._prefix
        odds = await self._log_odds(prefix, text, candidates)
        bias = await self._content_free(candidates)
        return [1 / (1 + math.exp(b - a)) for a, b in zip(odds, bias, strict=True)]

    def _shown(self, demos: Sequence[Demo], count: int) -> str:
        prefix = self._question
        for demo, other in zip(demos[:count], [*demos[1:], *demos[:1]], strict=False):
            for term, answer in ((demo.terms[0], "yes"), (other.terms[0], "no")):
                if answer == "no" and term in demo.terms:
                    continue
                prefix += f"{self._text}: {demo.text}{self._item(term)} {answer}\n\n"
        return prefix

    async def _log_odds(self, prefix: str, text: str, candidates: Sequence[Candidate]) -> list[float]:
        items = [self._item(_described(candidate)) for candidate in candidates]
        context = f"{self._text}: {text}"
        found = await self._model.probabilities(prefix, context, items, " yes", " no")
        return [math.log(max(p, 1e-6) / max(1 - p, 1e-6)) for p in found]

    def _item(self, label: str) -> str:
        return f"\n{self._label}: {label}\nAnswer:"


class Likelihood:
    """How likely the model finds a label's name after the text, as after the texts of a few examples.

    The evidence is the mean log-probability per token of the name and its end, less `correction` times the
    same after a text that says nothing.
    """

    def __init__(self, model: LanguageModel, task: TaskPack, correction: float = 0.75) -> None:
        self._model = model
        self._correction = correction
        self._prefix = self._shown(task.demos_of(task.rank))
        self._content_free = _ContentFree(partial(self._likelihood, self._prefix))

    async def weigh(
        self, text: str, candidates: Sequence[Candidate], demos: Sequence[Demo] | None = None
    ) -> list[float]:
        """Returns corrected mean log-probabilities."""
        prefix = self._shown(demos) if demos else self._prefix
        likely = await self._likelihood(prefix, text, candidates)
        bias = await self._content_free(candidates)
        return [a - self._correction * b for a, b in zip(likely, bias, strict=True)]

    @staticmethod
    def _shown(demos: Sequence[Demo]) -> str:
        # One line each: what the model has to learn here is "text -> label", not the task.
        return "".join(f"{_line(demo.text)} -> {demo.terms[0]}\n" for demo in demos)

    async def _likelihood(self, prefix: str, text: str, candidates: Sequence[Candidate]) -> list[float]:
        continuations = [f" {_line(candidate.label.name)}\n" for candidate in candidates]
        return await self._model.loglikelihoods(prefix, f"{_line(text)} ->", continuations)


class _ContentFree:
    """Evidence for labels after a text that says nothing; asked for once a label."""

    def __init__(self, weigh: _Weigh) -> None:
        self._weigh = weigh
        self._known: dict[str, float] = {}
        # One text at a time, or texts that are ranked together would all ask for the same labels.
        self._asking = asyncio.Lock()

    async def __call__(self, candidates: Sequence[Candidate]) -> list[float]:
        async with self._asking:
            new = [candidate for candidate in candidates if candidate.label.id not in self._known]
            if new:
                found = await self._weigh(_NOTHING, new)
                self._known.update(zip((candidate.label.id for candidate in new), found, strict=True))
        return [self._known[candidate.label.id] for candidate in candidates]


class _Weigh(Protocol):
    async def __call__(self, text: str, candidates: Sequence[Candidate], /) -> list[float]: ...


def _window_starts(count: int, size: int) -> list[int]:
    """Where windows begin, the last window first."""
    starts = list(range(max(0, count - size), 0, -max(1, size // 2)))
    return [*starts, 0]


def _described(candidate: Candidate) -> str:
    label = candidate.label
    return f"{label.name} ({_line(label.description)})" if label.description else label.name


def _line(text: str) -> str:
    return " ".join(text.split())
