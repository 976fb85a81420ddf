"""Listwise ranking: the model names the best of the numbered candidates, in order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean
from textwrap import shorten

from irr.config import RankSettings
from irr.lm.loop import gather
from irr.lm.protocol import LanguageModel
from irr.prompts.pack import Demo, TaskPack
from irr.prompts.templates import RankingPrompt
from irr.types import Candidate, Label


class Listwise:
    """The model reads all candidates, numbered, and returns the best numbers in order.

    The evidence falls evenly from 1 for the first to 1 / n for the n-th, and is 0 for the rest.

    Args:
        model: Ranks.
        task: The task pack of its prompt.
        settings: The numbers of demos, of candidates to choose and of passes, the characters of descriptions,
            whether none may fit, and the window: if it is not 0, the model reads so many candidates at a
            time, from the last to the first, and each window overlaps the one before by half (Sun et al.
            2023, arXiv 2304.09542).
    """

    def __init__(self, model: LanguageModel, task: TaskPack, settings: RankSettings) -> None:
        self._model = model
        self._prompt = RankingPrompt(task, settings.demos, settings.none_fits)
        self._count = settings.listwise_count
        self._window = settings.window
        self._passes = settings.passes
        self._characters = settings.description_characters

    async def weigh(
        self, text: str, candidates: Sequence[Candidate], demos: Sequence[Demo] | None = None
    ) -> list[float]:
        """Returns 1 down to 1 / n for the n candidates that the model chose, 0 for the others.

        Of several passes, each over the candidates in another order, it is the mean, so that no candidate
        gains by its place in the prompt (Tang et al. 2023, arXiv 2310.07712).
        """
        labels = [candidate.label for candidate in candidates]
        orders = _orders(len(labels), self._passes)
        found = await gather(*(self._weigh_in(order, text, labels, demos) for order in orders))
        return [fmean(evidence) for evidence in zip(*found, strict=True)]

    async def _weigh_in(
        self, order: list[int], text: str, labels: Sequence[Label], demos: Sequence[Demo] | None
    ) -> list[float]:
        """The evidence of one pass over the candidates in this order."""
        size = self._window or len(labels)
        named: list[int] = []
        for start in _window_starts(len(labels), size):
            window = order[start : start + size]
            named = [window[i] for i in await self._name(text, [labels[i] for i in window], demos)]
            order[start : start + size] = named + [i for i in window if i not in named]
        return places(named, len(labels))

    async def _name(self, text: str, labels: Sequence[Label], demos: Sequence[Demo] | None) -> list[int]:
        candidates = [shown(label, self._characters) for label in labels]
        names = [label.name for label in labels]
        answer = await self._model.chat(self._prompt.request(text, candidates, self._count, demos, names))
        return self._prompt.read(answer, len(labels))


def shown(label: Label, characters: int) -> str:
    """A label as a candidate: its name, and the beginning of its description where `characters` is not 0."""
    if not characters or not label.description:
        return label.name
    return f"{label.name} – {shorten(label.description, characters, placeholder='…')}"


def places(named: Sequence[int], count: int) -> list[float]:
    """The listwise evidence for `count` candidates, of which those at `named` were chosen, best first."""
    evidence = [0.0] * count
    for position, i in enumerate(named):
        evidence[i] = 1 - position / len(named)
    return evidence


def _orders(count: int, passes: int) -> list[list[int]]:
    """The order of each pass: as retrieved, then reversed, then shuffled, then that reversed, and so on."""
    orders = []
    for number in range(passes):
        order = list(range(count))
        if number > 1:
            random.Random(number // 2).shuffle(order)
        orders.append(order[::-1] if number % 2 else order)
    return orders


def _window_starts(count: int, size: int) -> list[int]:
    """The starts of windows, the last window first."""
    starts = list(range(max(0, count - size), 0, -max(1, size // 2)))
    return [*starts, 0]
