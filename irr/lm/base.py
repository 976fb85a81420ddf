"""What a stage may ask of a language model, and what a model says that it can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from irr.config import RankMethod


@dataclass(frozen=True)
class Capabilities:
    """What a language model can do, and where it runs.

    Attributes:
        ranks_by: The way to rank that suits it best.
        scores: Whether it can be asked for likelihoods and probabilities; of servers, only vLLM answers.
        writes_instructions: Whether it can write the prompts of other models.
        local: Whether it runs in this process, so that no text leaves it.
    """

    ranks_by: RankMethod = RankMethod.LISTWISE
    scores: bool = True
    writes_instructions: bool = True
    local: bool = False


@dataclass(frozen=True)
class ChatRequest:
    """One call that is answered in words.

    Attributes:
        messages: Pairs of role (`system`, `user` or `assistant`) and text.
        schema: The JSON schema that the answer must fit; None when any text will do.
        extra: What else is sent, for servers that know it.
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    json: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


class LanguageModel(Protocol):
    """A language model, wherever it runs. Every call adds its cost to the meter that is open around it."""

    @property
    def name(self) -> str:
        """What it is called in traces and frozen programs."""
        ...

    @property
    def concurrency(self) -> int:
        """How many calls it works on at a time."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, and where it runs."""
        ...

    async def chat(self, request: ChatRequest) -> str:
        """Answers in words.

        Raises:
            LMError: If the model gives no usable answer.
        """
        ...

    async def loglikelihoods(self, prefix: str, context: str, continuations: Sequence[str]) -> list[float]:
        """The mean log-probability per token of each continuation after `prefix + context`.

        Args:
            prefix: What is the same for every text; kept in the model's cache.
            context: What belongs to this text.
            continuations: What may follow; each ends in the token that ends it.

        Raises:
            LMError: If the model gives no usable answer.
        """
        ...

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """The probability of `yes` against `no` after `prefix + context + item`, for each item.

        Raises:
            LMError: If the model gives no usable answer.
        """
        ...
