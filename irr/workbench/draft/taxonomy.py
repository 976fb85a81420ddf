"""Labels by a language model, as TnT-LLM does it: batches summarized, labels proposed, updated, reviewed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from irr.errors import BudgetSpentError, LMError, LMUnavailableError
from irr.lm.cache import Answers, Budget, CachedModel
from irr.lm.loop import gather, run_on_loop
from irr.lm.protocol import ChatRequest, LanguageModel
from irr.prompts.drafting import LabelsPrompt, Proposed, SummaryPrompt

T = TypeVar("T")
_TEXTS = 10
_SUMMARIES = 40


@dataclass(frozen=True)
class TaxonomyOptions:
    """What a model is asked for.

    Attributes:
        size: Labels, at most.
        texts: Texts that are summarized, drawn at random.
        calls: Requests that may be sent, those of earlier calls included; any number if None.
        language: What the labels are written in; that of the texts if None.
        seed: Of the draw.
    """

    size: int
    texts: int = 1_000
    calls: int | None = None
    language: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Taxonomy:
    """What the model proposed.

    Attributes:
        labels: The labels.
        calls: Requests sent, those of earlier calls included.
        unusable: Answers that could not be used.
        stopped: Why it ended early; "" if it did not.
    """

    labels: tuple[Proposed, ...]
    calls: int
    unusable: int
    stopped: str


def propose(
    texts: Sequence[str],
    model: LanguageModel,
    answers: Path,
    options: TaxonomyOptions,
    on_call: Callable[[], None] = lambda: None,
) -> Taxonomy:
    """Asks a model for labels (Wan et al. 2024, arXiv 2403.12173); a call that was killed goes on.

    Args:
        texts: The texts.
        model: The model.
        answers: The file that its answers are kept in.
        options: What is asked for.
        on_call: Called after each request.

    Raises:
        LMUnavailableError: If the model cannot be had.
    """
    known = Answers(answers)
    budget = Budget(options.calls, on_call, known.requests)
    rows = np.random.default_rng(options.seed).permutation(len(texts))[: options.texts]
    work = _Work(CachedModel(model, budget, known), options)
    stopped = ""
    try:
        work.run([texts[row] for row in rows])
    except BudgetSpentError as e:
        stopped = str(e)
    return Taxonomy(tuple(work.labels), known.requests, work.unusable, stopped)


class _Work:
    def __init__(self, model: LanguageModel, options: TaxonomyOptions) -> None:
        self._model = model
        self._summary = SummaryPrompt(options.language)
        self._prompt = LabelsPrompt(options.size, options.language)
        self.labels: list[Proposed] = []
        self.unusable = 0

    def run(self, texts: Sequence[str]) -> None:
        """Summaries and updates take turns, so that a budget that ends early leaves labels behind."""
        summaries: list[str] = []
        for part in _parts(texts, _SUMMARIES):
            batches = list(_parts(part, _TEXTS))
            for found in run_on_loop(gather(*map(self._summarize, batches))):
                summaries.extend(found or ())
            self._update(summaries)
            summaries = []
        if self.labels:
            self._update([])

    async def _summarize(self, batch: Sequence[str]) -> list[str] | None:
        return await self._ask(self._summary.request(batch), self._summary.read)

    def _update(self, summaries: Sequence[str]) -> None:
        if not summaries and not self.labels:
            return
        request = self._prompt.request(summaries, self.labels)
        self.labels = run_on_loop(self._labels(request)) or self.labels

    async def _labels(self, request: ChatRequest) -> list[Proposed]:
        return await self._ask(request, self._prompt.read) or []

    async def _ask(self, request: ChatRequest, read: Callable[[str], T]) -> T | None:
        try:
            return read(await self._model.chat(request))
        except LMUnavailableError:
            raise
        except LMError:
            self.unusable += 1
            return None


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
