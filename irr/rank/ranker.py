"""Rank: by retrieval score, or with the evidence of a language model, listwise or pointwise."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from statistics import fmean
from textwrap import shorten
from typing import Protocol

from irr.config import RankMethod, RankSettings, Settings
from irr.errors import LMError, LMUnavailableError
from irr.lm.loop import gather, run_on_loop
from irr.lm.protocol import LanguageModel, metered
from irr.prompts.chat import RankingPrompt
from irr.prompts.pack import ChooseDemos, Demo, TaskPack
from irr.text.strings import one_line
from irr.types import Candidate, Fallback, Label, RankedLabel, Ranking

_CONTENT_FREE = "N/A"


class Ranker(Protocol):
    """Orders candidates: returns those that it was given, best first, each with a score."""

    def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
        """Ranks the candidates of each text."""
        ...


class RetrievalRanker:
    """Keeps the order and the scores of retrieval."""

    def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
        """Returns each text's candidates as retrieval ordered them."""
        return [by_score(group, [candidate.score for candidate in group]) for group in candidates]


def by_score(candidates: Sequence[Candidate], scores: Sequence[float]) -> Ranking:
    """The candidates ordered by these scores, best first; ties keep their order."""
    order = sorted(range(len(candidates)), key=lambda i: -scores[i])
    return Ranking(
        labels=tuple(
            RankedLabel(id=candidates[i].label.id, name=candidates[i].label.name, score=round(scores[i], 6))
            for i in order
        )
    )


class LMRanker:
    """Orders candidates by retrieval score + weight · evidence.

    The settings tell how many candidates the model reads; the others follow in retrieval order. `choose`
    gives each text demos in place of the task's.
    """

    def __init__(
        self, evidence: LMEvidence, weight: float, settings: Settings, choose: ChooseDemos | None = None
    ) -> None:
        self._evidence = evidence
        self._weight = weight
        self._settings = settings
        self._choose = choose

    def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
        """Ranks each text's candidates, with a fallback to retrieval order where the model failed."""
        demos = self._choose(texts) if self._choose else [None] * len(texts)

        async def rank_all() -> list[Ranking]:
            return await gather(*map(self._rank_text, texts, candidates, demos))

        return run_on_loop(rank_all())

    async def _rank_text(
        self, text: str, candidates: Sequence[Candidate], demos: Sequence[Demo] | None
    ) -> Ranking:
        scores = [candidate.score for candidate in candidates]
        if not candidates:
            return by_score(candidates, scores)
        with metered() as meter:
            try:
                evidence = await self._evidence.weigh(
                    text, candidates[: depth(self._settings, scores)], demos
                )
            except LMUnavailableError:
                raise
            except LMError as e:
                fallback = Fallback(stage="rank", code=e.code, message=e.message)
                ranking = by_score(candidates, scores)
                return ranking.model_copy(update={"usage": meter.usage, "fallback": fallback})
        # A candidate that the model did not read gets the lowest evidence.
        weights = [*evidence, *[min(evidence)] * (len(scores) - len(evidence))]
        fused = [score + self._weight * w for score, w in zip(scores, weights, strict=True)]
        return by_score(candidates, fused).model_copy(update={"usage": meter.usage})


def depth(settings: Settings, scores: Sequence[float]) -> int:
    """The number of candidates with these retrieval scores, best first, that the model reads."""
    most, gap = settings.retrieve.candidates, settings.rank.score_gap
    if not gap:
        return most
    return min(most, max(settings.rank.listwise_count, sum(score >= scores[0] - gap for score in scores)))


class Listwise:
    """The model reads all candidates, numbered, and returns the best numbers in order.

    The evidence falls evenly from 1 for the first to 1 / n for the n-th, and is 0 for the rest.

    With a window in the settings, it reads so many candidates at a time, from the last to the first, and each
    window overlaps the one before by half (Sun et al. 2023, arXiv 2304.09542).
    """

    def __init__(self, model: LanguageModel, task: TaskPack, settings: RankSettings) -> None:
        self._model = model
        self._prompt = RankingPrompt(task, settings.demos, settings.none_fits)
        self._settings = settings

    async def weigh(
        self, text: str, candidates: Sequence[Candidate], demos: Sequence[Demo] | None = None
    ) -> list[float]:
        """Returns 1 down to 1 / n for the n candidates that the model chose, 0 for the others.

        Of several passes, each over the candidates in another order, it is the mean, so that no candidate
        gains by its place in the prompt (Tang et al. 2023, arXiv 2310.07712).
        """
        labels = [candidate.label for candidate in candidates]
        orders = _orders(len(labels), self._settings.passes)
        found = await gather(*(self._weigh_in(order, text, labels, demos) for order in orders))
        return [fmean(evidence) for evidence in zip(*found, strict=True)]

    async def _weigh_in(
        self, order: list[int], text: str, labels: Sequence[Label], demos: Sequence[Demo] | None
    ) -> list[float]:
        """The evidence of one pass over the candidates in this order."""
        size = self._settings.window or len(labels)
        starts = range(max(0, len(labels) - size), 0, -max(1, size // 2))
        named: list[int] = []
        for start in (*starts, 0):
            window = order[start : start + size]
            named = [window[i] for i in await self._name(text, [labels[i] for i in window], demos)]
            order[start : start + size] = named + [i for i in window if i not in named]
        evidence = [0.0] * len(labels)
        for position, i in enumerate(named):
            evidence[i] = 1 - position / len(named)
        return evidence

    async def _name(self, text: str, labels: Sequence[Label], demos: Sequence[Demo] | None) -> list[int]:
        """The positions of the labels that the model names, best first."""
        settings = self._settings
        candidates = [_candidate_line(label, settings.description_characters) for label in labels]
        names = [label.name for label in labels]
        request = self._prompt.request(text, candidates, settings.listwise_count, demos, names)
        return self._prompt.read(await self._model.chat(request), len(labels))


def _candidate_line(label: Label, characters: int) -> str:
    if not characters or not label.description:
        return label.name
    return f"{label.name} – {shorten(label.description, characters, placeholder='…')}"


def _orders(count: int, passes: int) -> list[list[int]]:
    """The order of each pass: as retrieved, then reversed, then shuffled, then that reversed, and so on."""
    orders = []
    for number in range(passes):
        order = list(range(count))
        if number > 1:
            random.Random(number // 2).shuffle(order)
        orders.append(order[::-1] if number % 2 else order)
    return orders


class Pointwise:
    """The model answers yes or no to each candidate; the evidence is the probability of yes.

    Its log-odds for the content-free text are subtracted, because a model prefers some labels for any text
    (Zhao et al. 2021, arXiv 2102.09690). Each of the demos has a label that applies and one that does not.
    """

    def __init__(self, model: LanguageModel, task: TaskPack, demos: int) -> None:
        self._model = model
        self._text = task.text[:1].upper() + task.text[1:]
        self._label = task.label[:1].upper() + task.label[1:]
        self._question = f"{task.rank.question} Answer yes or no.\n{task.notes_of(task.rank)}\n\n"
        self._prefix = self._prompt(task.demos_of(task.rank), task.count_of(task.rank, demos))
        self._bias: dict[str, float] = {}
        # Texts that are ranked together need the same labels.
        self._asking = asyncio.Lock()

    async def weigh(
        self, text: str, candidates: Sequence[Candidate], demos: Sequence[Demo] | None = None
    ) -> list[float]:
        """Returns corrected probabilities of yes, in (0, 1)."""
        prefix = self._prompt(demos, len(demos)) if demos else self._prefix
        odds = await self._log_odds(prefix, text, candidates)
        async with self._asking:
            new = [candidate for candidate in candidates if candidate.label.id not in self._bias]
            if new:
                found = await self._log_odds(self._prefix, _CONTENT_FREE, new)
                self._bias.update(zip((candidate.label.id for candidate in new), found, strict=True))
        bias = [self._bias[candidate.label.id] for candidate in candidates]
        return [1 / (1 + math.exp(b - a)) for a, b in zip(odds, bias, strict=True)]

    def _prompt(self, demos: Sequence[Demo], count: int) -> str:
        prefix = self._question
        for demo, other in zip(demos[:count], [*demos[1:], *demos[:1]], strict=False):
            for term, answer in ((demo.terms[0], "yes"), (other.terms[0], "no")):
                if answer == "no" and term in demo.terms:
                    continue
                prefix += f"{self._text}: {demo.text}{self._item(term)} {answer}\n\n"
        return prefix

    async def _log_odds(self, prefix: str, text: str, candidates: Sequence[Candidate]) -> list[float]:
        items = [self._item(_with_description(candidate.label)) for candidate in candidates]
        found = await self._model.probabilities(prefix, f"{self._text}: {text}", items, " yes", " no")
        return [math.log(max(p, 1e-6) / max(1 - p, 1e-6)) for p in found]

    def _item(self, label: str) -> str:
        return f"\n{self._label}: {label}\nAnswer:"


def _with_description(label: Label) -> str:
    return f"{label.name} ({one_line(label.description)})" if label.description else label.name


LMEvidence = Listwise | Pointwise


def evidence_by(
    method: RankMethod, model: LanguageModel, task: TaskPack, settings: RankSettings
) -> LMEvidence:
    """A model's evidence for candidates by one method."""
    if method is RankMethod.POINTWISE:
        return Pointwise(model, task, settings.demos)
    return Listwise(model, task, settings)
