"""Listwise ranking: the model names the best of the numbered candidates, in order."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten

from irr.config import RankSettings
from irr.errors import LMError
from irr.lm.base import LanguageModel
from irr.prompts.pack import Demo, TaskPack
from irr.prompts.templates import RankingPrompt
from irr.types import Candidate, Label


class Listwise:
    """The model reads all candidates, numbered, and returns the best numbers in order.

    The evidence falls evenly from 1 for the first to 1 / n for the n-th, and is 0 for the rest.

    Args:
        model: Ranks.
        task: The task pack of its prompt.
        settings: The numbers of demos and of candidates to choose, the characters of descriptions, and the
            window: if it is not 0, the model reads so many candidates at a time, from the last to the first,
            and each window overlaps the one before by half (Sun et al. 2023, arXiv 2304.09542).
    """

    def __init__(self, model: LanguageModel, task: TaskPack, settings: RankSettings) -> None:
        self._model = model
        self._prompt = RankingPrompt(task, settings.demos)
        self._count = settings.listwise_count
        self._window = settings.window
        self._characters = settings.description_characters

    async def weigh(
        self, text: str, candidates: Sequence[Candidate], demos: Sequence[Demo] | None = None
    ) -> list[float]:
        """Returns 1 down to 1 / n for the n candidates that the model chose, 0 for the others."""
        names = [shown(candidate.label, self._characters) for candidate in candidates]
        order = list(range(len(names)))
        size = self._window or len(names)
        named: list[int] = []
        for start in _window_starts(len(names), size):
            window = order[start : start + size]
            named = [window[i] for i in await self._name(text, [names[i] for i in window], demos)]
            order[start : start + size] = named + [i for i in window if i not in named]
        return places(named, len(names))

    async def _name(self, text: str, names: Sequence[str], demos: Sequence[Demo] | None) -> list[int]:
        answer = await self._model.chat(self._prompt.request(text, names, self._count, demos))
        named = self._prompt.read(answer, len(names))
        if not named:
            raise LMError("empty", "the answer names no candidate")
        return named


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


def _window_starts(count: int, size: int) -> list[int]:
    """The starts of windows, the last window first."""
    starts = list(range(max(0, count - size), 0, -max(1, size // 2)))
    return [*starts, 0]
