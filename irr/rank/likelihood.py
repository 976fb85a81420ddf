"""Ranking by likelihood: a label name's mean log-probability per token after the text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from irr.lm.base import LanguageModel
from irr.prompts.pack import Demo, TaskPack
from irr.rank.content_free import ContentFree
from irr.text.strings import one_line
from irr.types import Candidate


class Likelihood:
    """The likelihood of a label's name after the text, in a prompt of a few examples.

    The evidence is the mean log-probability per token of the name and its end, less `correction` times that
    after the content-free text.
    """

    def __init__(self, model: LanguageModel, task: TaskPack, correction: float) -> None:
        self._model = model
        self._correction = correction
        self._prefix = self._shown(task.demos_of(task.rank))
        self._content_free = ContentFree(partial(self._likelihood, self._prefix))

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
        # One line an example, so that the model continues the pattern "text -> label".
        return "".join(f"{one_line(demo.text)} -> {demo.terms[0]}\n" for demo in demos)

    async def _likelihood(self, prefix: str, text: str, candidates: Sequence[Candidate]) -> list[float]:
        continuations = [f" {one_line(candidate.label.name)}\n" for candidate in candidates]
        return await self._model.loglikelihoods(prefix, f"{one_line(text)} ->", continuations)
