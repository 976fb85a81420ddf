"""Pointwise ranking: the model's probability of "yes" for each candidate."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from irr.lm.protocol import LanguageModel
from irr.prompts.pack import Demo, TaskPack
from irr.text.strings import one_line
from irr.types import Candidate

_CONTENT_FREE = "N/A"


class Pointwise:
    """The model answers yes or no to each candidate; the evidence is the probability of yes.

    Its log-odds for the content-free text are subtracted, because a model prefers some labels for any text
    (Zhao et al. 2021, arXiv 2102.09690).

    Args:
        model: The model.
        task: The task pack of the prompt.
        demos: The number of demos, each with a label that applies and one that does not.
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
        bias = await self._content_free(candidates)
        return [1 / (1 + math.exp(b - a)) for a, b in zip(odds, bias, strict=True)]

    async def _content_free(self, candidates: Sequence[Candidate]) -> list[float]:
        """The log-odds of candidates for the content-free text, requested once for each label."""
        async with self._asking:
            new = [candidate for candidate in candidates if candidate.label.id not in self._bias]
            if new:
                found = await self._log_odds(self._prefix, _CONTENT_FREE, new)
                self._bias.update(zip((candidate.label.id for candidate in new), found, strict=True))
        return [self._bias[candidate.label.id] for candidate in candidates]

    def _prompt(self, demos: Sequence[Demo], count: int) -> str:
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


def _described(candidate: Candidate) -> str:
    label = candidate.label
    return f"{label.name} ({one_line(label.description)})" if label.description else label.name
