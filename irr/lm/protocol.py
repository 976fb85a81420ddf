"""The interface of a language model: what it can do, what it is asked, what its calls cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from irr.types import Usage


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
class StageInput:
    """What a stage asks a model about, for models that do not read prompts.

    Attributes:
        stage: `infer` or `rank`.
        text: The text.
        candidates: For rank: the names of the candidates, in the order of their numbers.
        fields: The input fields of the prompt.
        demos: The fields of the demos that are shown in place of the prompt's own; None for its own.
    """

    stage: str
    text: str
    candidates: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    demos: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class ChatRequest:
    """A request for an answer in words.

    Attributes:
        messages: Pairs of role (`system`, `user` or `assistant`) and text.
        schema: The JSON schema of the answer; None for any text.
        extra: Further fields, for servers that know them.
        about: What the messages ask about; None if no stage asks.
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
    about: StageInput | None = None


class LanguageModel(Protocol):
    """A language model. Every call adds its cost to the open meters."""

    @property
    def name(self) -> str:
        """Its name in traces and frozen programs."""

    @property
    def concurrency(self) -> int:
        """The number of calls that it works on at a time."""

    @property
    def capabilities(self) -> Capabilities:
        """Its capabilities."""

    async def chat(self, request: ChatRequest) -> str:
        """Answers in words.

        Raises:
            LMError: If the model gives no usable answer.
        """

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


@dataclass
class Meter:
    """Adds up the cost of calls in `usage`."""

    usage: Usage = field(default_factory=Usage)


_meters: ContextVar[tuple[Meter, ...]] = ContextVar("irr_meters", default=())


@contextmanager
def metered() -> Iterator[Meter]:
    """Opens a meter for the calls made in this block, and in tasks that are started from it."""
    meter = Meter()
    token = _meters.set((*_meters.get(), meter))
    try:
        yield meter
    finally:
        _meters.reset(token)


def count(usage: Usage) -> None:
    """Adds the cost of a call to all open meters."""
    for meter in _meters.get():
        meter.usage = meter.usage + usage
