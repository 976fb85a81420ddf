"""The budget of an optimization: counts every request, repeats none, and ends the search."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from irr.config import TOLERATED
from irr.errors import LMError, LMUnavailableError
from irr.lm.base import ChatRequest, LanguageModel
from irr.lm.usage import Meter, count, metered
from irr.text.numbers import counted
from irr.types import Usage


class Stopped(BaseException):
    """The search is stopped; a BaseException, so that no handler of errors catches it."""


class Budget:
    """Counts requests, and says when to stop.

    Attributes:
        usage: The usage so far.
        reason: The reason to end early; "" while the search goes on.
        silent: Whether the reason is a model that no longer answers.
        failure: The error of a model that is unavailable, which ends everything.

    Args:
        calls: The most requests; any number if None.
        on_call: Called after each request.
        spent: How many of them earlier calls made.
    """

    def __init__(
        self, calls: int | None = None, on_call: Callable[[], None] = lambda: None, spent: int = 0
    ) -> None:
        self.usage = Usage()
        self.reason = ""
        self.failure: LMUnavailableError | None = None
        self.silent = False
        self._unanswered = 0
        self._calls = calls
        self._started = spent
        self._on_call = on_call
        self._lock = threading.Lock()

    def stop(self, reason: str) -> None:
        """Ends the search at the next request or trial."""
        self.reason = self.reason or reason

    def check(self) -> None:
        """Raises LMUnavailableError if a model is unavailable, and Stopped if the search is to end."""
        if self.failure:
            raise self.failure
        if self.reason:
            raise Stopped(self.reason)

    @contextmanager
    def trial(self, texts: int) -> Iterator[None]:
        """Encloses a trial; it is void, and ends the search, if the model answers too few of its requests.

        Raises:
            Stopped: After the block, if more than a tenth of the texts went unanswered.
        """
        before = self._unanswered
        yield
        if (unanswered := self._unanswered - before) > TOLERATED * texts:
            left = counted(unanswered, "request")
            self.stop(f"the model left {left} of a trial of {counted(texts, 'text')} unanswered")
            self.silent = True
            raise Stopped(self.reason)

    def missed(self, error: LMError) -> None:
        """Records a request that failed."""
        if isinstance(error, LMUnavailableError):
            self.failure = error
        with self._lock:
            self._unanswered += error.retryable

    def start(self) -> None:
        """Takes one request off the budget, or raises as `check`."""
        with self._lock:
            if self._calls is not None and self._started >= self._calls:
                self.stop(f"the budget of {counted(self._calls, 'call')} is spent")
            self.check()
            self._started += 1

    def add(self, usage: Usage) -> None:
        """Adds the usage of a call."""
        with self._lock:
            self.usage = self.usage + usage
        self._on_call()


class MeteredModel:
    """A language model within a budget, which answers repeated requests from a cache.

    Args:
        model: Answers new requests.
        budget: Counts them.
    """

    def __init__(self, model: LanguageModel, budget: Budget) -> None:
        self.model = model
        self.name = model.name
        self.revision = getattr(model, "revision", None)
        self.concurrency = model.concurrency
        self.capabilities = model.capabilities
        self._budget = budget
        self._known: dict[str, Any] = {}

    async def chat(self, request: ChatRequest) -> str:
        """Answers in words; from the cache if the temperature is 0."""
        key = json.dumps([request.messages, request.max_tokens, request.schema, request.stop])
        if request.temperature:
            return str(await self._counted(self.model.chat(request)))
        if key not in self._known:
            self._known[key] = await self._counted(self.model.chat(request))
        return str(self._known[key])

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """As the model's; only items that are not in the cache are asked about."""
        judge = partial(self.model.probabilities, prefix, context, yes=yes, no=no)
        return await self._judged(["probabilities", prefix, context, yes, no], items, judge)

    async def _judged(
        self,
        about: Sequence[str],
        items: Sequence[str],
        judge: Callable[[Sequence[str]], Awaitable[list[float]]],
    ) -> list[float]:
        known = self._known.setdefault(json.dumps(about), {})
        new = [item for item in dict.fromkeys(items) if item not in known]
        if new:
            known.update(zip(new, await self._counted(judge(new)), strict=True))
        return [known[item] for item in items]

    async def _counted(self, work: Any) -> Any:
        try:
            self._budget.start()
        except (Stopped, LMUnavailableError):
            work.close()
            raise
        meter = Meter()
        try:
            with metered() as meter:
                return await work
        except LMError as e:
            self._budget.missed(e)
            raise
        finally:
            self._budget.add(meter.usage)
            count(meter.usage)  # for whoever adds up the costs of the text
