"""Infer by a language model: the terms it proposes join the queries of a text."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from irr.errors import LMError, LMUnavailableError
from irr.infer.spans import Inferer
from irr.lm.loop import gather, run_on_loop
from irr.lm.protocol import LanguageModel, metered
from irr.prompts.chat import TermPrompt
from irr.prompts.pack import ChooseDemos, Demo, TaskPack
from irr.types import Fallback, Inference, Query, QueryKind

# A longer text is split into requests of this size.
_PART_CHARACTERS = 8_000


class LMInferer:
    """Adds the terms that a model proposes to the queries of another inferer.

    The prompt has so many demos of the task, or those that `choose` gives for each text.
    """

    def __init__(
        self,
        base: Inferer,
        model: LanguageModel,
        task: TaskPack,
        demos: int,
        choose: ChooseDemos | None = None,
    ) -> None:
        self._base = base
        self._model = model
        self._prompt = TermPrompt(task, demos)
        self._choose = choose

    def infer(self, texts: Sequence[str]) -> list[Inference]:
        """Returns the queries of each text, with a fallback and fewer terms where the model failed.

        Raises:
            LMUnavailableError: If the model is unavailable.
        """
        demos = self._choose(texts) if self._choose else [None] * len(texts)
        return run_on_loop(self._infer(texts, demos))

    async def _infer(self, texts: Sequence[str], demos: Sequence[Sequence[Demo] | None]) -> list[Inference]:
        # While the requests are under way, the other queries are made.
        bases = asyncio.ensure_future(asyncio.to_thread(self._base.infer, texts))
        proposals = await gather(*map(self._propose, texts, demos))
        return [
            proposal.model_copy(update={"queries": base.queries + proposal.queries})
            for base, proposal in zip(await bases, proposals, strict=True)
        ]

    async def _propose(self, text: str, demos: Sequence[Demo] | None) -> Inference:
        with metered() as meter:
            terms: dict[str, None] = {}
            fallback = None
            try:
                for part in _parts(text):
                    answer = await self._model.chat(self._prompt.request(part, demos))
                    terms.update(dict.fromkeys(self._prompt.read(answer)))
            except LMUnavailableError:
                raise
            except LMError as e:
                fallback = Fallback(stage="infer", code=e.code, message=e.message)
        queries = tuple(Query(text=term, kind=QueryKind.TERM) for term in terms)
        return Inference(queries=queries, usage=meter.usage, fallback=fallback)


def _parts(text: str) -> Iterator[str]:
    while len(text) > _PART_CHARACTERS:
        cut = text.rfind(" ", _PART_CHARACTERS // 2, _PART_CHARACTERS)
        cut = cut if cut > 0 else _PART_CHARACTERS
        yield text[:cut]
        text = text[cut:].lstrip()
    yield text
