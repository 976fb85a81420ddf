"""The interface of a language model, and what a model can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Capabilities:
    """The capabilities of a language model.

    Attributes:
        scores: Whether it has `probabilities`; of servers, only vLLM has.
        writes_instructions: Whether it can write the prompts of other models.
        local: Whether it runs in this process, so that no text leaves the machine.
    """

    scores: bool = True
    writes_instructions: bool = True
    local: bool = False


@dataclass(frozen=True)
class ChatRequest:
    """A request for an answer in words.

    Attributes:
        messages: Pairs of role (`system`, `user` or `assistant`) and text.
        schema: The JSON schema of the answer; None for any text.
        extra: Further fields, for servers that know them.
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
    """A language model. Every call adds its cost to the open meter."""

    @property
    def name(self) -> str:
        """Its name in traces and frozen programs."""
        ...

    @property
    def concurrency(self) -> int:
        """The number of calls that it works on at a time."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Its capabilities."""
        ...

    async def chat(self, request: ChatRequest) -> str:
        """Answers in words.

        Raises:
            LMError: If the model gives no usable answer.
        """
        ...

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """The probability of `yes` against `no` after `prefix + context + item`, for each item.

        Args:
            prefix: The part that all texts share; kept in the model's cache.
            context: The part of this text.
            items: What is judged.
            yes: The word whose probability is returned.
            no: The other word.

        Raises:
            LMError: If the model gives no usable answer.
        """
        ...
