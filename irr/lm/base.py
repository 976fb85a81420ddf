"""The language-model seam: what a stage may ask of a model, and what each answer cost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from irr.errors import UsageError
from irr.types import Usage

if TYPE_CHECKING:
    from irr.lm.openai.limits import Limits

T = TypeVar("T")

NO_MODEL = "none"
EMBEDDED = "embedded"
SERVED = "openai/"
_OPENAI = "https://api.openai.com/v1"


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


def open_model(name: str, api_base: str | None = None, limits: Limits | None = None) -> LanguageModel | None:
    """The language model of that name: `none`, `embedded`, or `openai/MODEL` at an OpenAI-compatible URL.

    Args:
        name: What to open.
        api_base: The server's URL up to and with `/v1`; OpenAI's own if None.
        limits: What the server is to bear.

    Raises:
        UsageError: If the name is none of these.
        MissingExtraError: If the embedded model's package is not installed.
    """
    check_name(name)
    if name == NO_MODEL:
        return None
    if name == EMBEDDED:
        from irr.lm.local.model import EmbeddedModel

        return EmbeddedModel()
    from irr.lm.openai.client import ServedModel

    return ServedModel(name.removeprefix(SERVED), api_base or _OPENAI, limits=limits)


def open_models(
    models: Sequence[LanguageModel | str], api_base: str | None = None, limits: Limits | None = None
) -> list[LanguageModel | None]:
    """Each of these models, opened where only its name is given: one and the same for one name.

    Raises:
        UsageError: If a name is none that `open_model` knows.
        MissingExtraError: If the embedded model's package is not installed.
    """
    names = dict.fromkeys(model for model in models if isinstance(model, str))
    opened = {name: open_model(name, api_base, limits) for name in names}
    return [opened[model] if isinstance(model, str) else model for model in models]


def check_name(name: str) -> None:
    """Checks that `open_model` knows such a name.

    Raises:
        UsageError: If it does not.
    """
    if name not in (NO_MODEL, EMBEDDED) and not (name.startswith(SERVED) and len(name) > len(SERVED)):
        hint = "name none, embedded, or openai/MODEL with --api-base URL"
        raise UsageError(f'no language model "{name}"', hint)


class Meter:
    """Adds up what the calls under it cost."""

    def __init__(self) -> None:
        self.usage = Usage()

    def add(self, usage: Usage) -> None:
        """Counts one call."""
        self.usage = self.usage + usage


_meter: ContextVar[Meter | None] = ContextVar("irr_meter", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """Opens a meter for the calls made in this block, and in tasks that are started from it."""
    meter = Meter()
    token = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(token)


def count(usage: Usage) -> None:
    """Adds the cost of a call to the meter that is open, if one is."""
    meter = _meter.get()
    if meter is not None:
        meter.add(usage)


class Requests:
    """The calls that are under way for one caller, so that they can be called off together."""

    def __init__(self) -> None:
        self._under_way: set[Future[Any]] = set()
        self._cancelled = False
        self._lock = threading.Lock()

    @contextmanager
    def made_here(self) -> Iterator[None]:
        """Counts what `run` is given in this block, on this thread, as a call for this caller."""
        token = _requests.set(self)
        try:
            yield
        finally:
            _requests.reset(token)

    def cancel(self) -> None:
        """Calls off all that are under way, and all that come after."""
        with self._lock:
            self._cancelled = True
            under_way = list(self._under_way)
        for future in under_way:
            future.cancel()

    def _add(self, future: Future[Any]) -> None:
        with self._lock:
            self._under_way.add(future)
            cancelled = self._cancelled
        future.add_done_callback(self._under_way.discard)
        if cancelled:
            future.cancel()


_requests: ContextVar[Requests | None] = ContextVar("irr_requests", default=None)


class _Loop:
    """The one event loop that all models share, since connections belong to the loop they were opened on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            # A forked child has the loop but not its thread.
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="irr-lm", daemon=True)
                self._thread.start()
            return self._loop

    def is_here(self) -> bool:
        return self._thread is threading.current_thread()


_loop = _Loop()


def run_on_loop(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the event loop that all models share, and waits for it.

    Raises:
        RuntimeError: If it is called on that loop, where waiting would never end.
    """
    if _loop.is_here():
        work.close()
        raise RuntimeError("run_on_loop() was called on the models' own event loop: await the work instead")
    future = asyncio.run_coroutine_threadsafe(work, _loop.start())
    requests = _requests.get()
    if requests is not None:
        requests._add(future)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
