"""The service: the program in use, its queue, and the swap to another one."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from irr.calibrate.decision import BEST, Decision
from irr.errors import IrrError
from irr.program.program import InferRetrieveRank
from irr.text.numbers import counted
from irr.types import Prediction
from irr.workbench.serve.metrics import Metrics
from irr.workbench.serve.refusals import Refusal, refusal_of
from irr.workbench.serve.search import LabelSearch

# Parts of the label space that are kept ready.
_PARTS = 32
# Groups of texts that one request has under way or waiting.
_GROUPS = 2
# How much the last texts count for the estimate of how long the queue takes.
_MEMORY = 0.2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """A part of the label space, as `InferRetrieveRank.within` takes it; all of it if nothing is said."""

    within: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()


WHOLE = Part()


@dataclass(frozen=True)
class Wish:
    """What a request wants of each of its texts."""

    top_k: int | None = None
    decision: Decision = BEST
    part: Part = WHOLE
    trace: bool = False


class Loaded:
    """A program that is ready: warmed up, its labels searchable, parts of its label space kept.

    Attributes:
        program: The program.
        digest: Identifies it.
        search: Finds its labels.
    """

    def __init__(self, program: InferRetrieveRank) -> None:
        program.warm_up()
        self.program = program
        self.digest = program.digest
        self.search = LabelSearch(program)
        self._finding = threading.Lock()
        self._parts: OrderedDict[Part, InferRetrieveRank] = OrderedDict()

    def within(self, part: Part) -> InferRetrieveRank:
        """The program on a part of its label space.

        Raises:
            UsageError: If an id is no label's, or no label is left.
        """
        if part == WHOLE:
            return self.program
        with self._finding:
            found = self._parts.pop(part, None)
            if found is None:
                found = self.program.within(part.within, only=part.only, without=part.without)
            self._parts[part] = found
            if len(self._parts) > _PARTS:
                self._parts.popitem(last=False)
            return found


class Service:
    """Answers texts with the program in use, and swaps another one in without dropping a request.

    Args:
        build: Gives the program; called again for each swap.
        queue: How many texts may wait or be under way.

    Attributes:
        metrics: What is counted.
        ready: Whether requests are taken; no longer so once the service stops.
        told_to_reload: Called instead of a swap in this process, where several processes have to swap.
    """

    def __init__(self, build: Callable[[], InferRetrieveRank], queue: int = 1_000) -> None:
        self._build = build
        self._queue = queue
        self._taken = 0
        self._texts_per_second = 0.0
        self._current: Loaded | None = None
        self._swapping = asyncio.Lock()
        self.metrics = Metrics()
        self.ready = False
        self.told_to_reload: Callable[[], None] | None = None

    @property
    def loaded(self) -> Loaded:
        """The program in use, and what belongs to it.

        Raises:
            Refusal: If there is none yet.
        """
        if self._current is None:
            raise Refusal(503, "not_ready", "the program is being loaded: ask again", retry_after="5")
        return self._current

    def load(self) -> None:
        """Loads the first program.

        Raises:
            IrrError: If that fails.
        """
        self._current = Loaded(self._build())
        self.ready = True

    async def reload(self) -> Loaded:
        """Loads the program anew and swaps it in; texts that are under way are answered by the one before.

        Raises:
            Refusal: If it cannot be loaded; the one before goes on.
        """
        async with self._swapping:
            before = self._current
            try:
                loaded = await asyncio.to_thread(lambda: Loaded(self._build()))
            except Exception as e:
                self.metrics.reloads.labels("failed").inc()
                why = str(e) if isinstance(e, IrrError) else f"{type(e).__name__}: {e}"
                logger.warning("the program could not be loaded anew, the one before goes on: %s", why)
                raise Refusal(409, "not_reloaded", f"{why}; the program before goes on") from e
            self._current, self.ready = loaded, True
            self.metrics.reloads.labels("done").inc()
            logger.warning("the program was loaded anew: %s", loaded.digest)
            if before:
                await asyncio.to_thread(before.program.close)
                del before
                await asyncio.to_thread(_give_back)
            return loaded

    async def classify(self, texts: Sequence[str], wish: Wish, loaded: Loaded) -> list[Prediction]:
        """Answers some texts.

        Raises:
            UsageError: If the wish cannot be met.
            Refusal: If too many texts wait already.
        """
        program = await asyncio.to_thread(loaded.within, wish.part) if wish.part != WHOLE else loaded.program
        self._admit(len(texts))
        began = time.perf_counter()
        try:
            found = await _answers(program, texts, wish)
        finally:
            self._taken -= len(texts)
            self.metrics.queue.dec(len(texts))
        predictions = [_checked(one) for one in found]
        self.metrics.count(predictions)
        self._remember(len(texts), time.perf_counter() - began)
        return predictions

    def _admit(self, many: int) -> None:
        if many > self._queue:
            message = f"{many:,} texts, at most {self._queue:,} are taken at a time: send fewer"
            raise Refusal(413, "too_large", message)
        if self._taken + many > self._queue:
            seconds = self._taken / self._texts_per_second if self._texts_per_second else 1.0
            after = str(min(60, max(1, math.ceil(seconds / 2))))
            message = f"{counted(self._taken, 'text waits', 'texts wait')} already: ask again later"
            raise Refusal(429, "busy", message, retry_after=after)
        self._taken += many
        self.metrics.queue.inc(many)

    def _remember(self, many: int, seconds: float) -> None:
        """Keeps how many texts a second come out while so many are under way."""
        if many and seconds > 0:
            rate = (self._taken + many) / seconds
            self._texts_per_second += _MEMORY * (rate - self._texts_per_second)


def _give_back() -> None:
    """Gives the memory of a program that was swapped out back to the system, so that swaps do not add up."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


async def _answers(
    program: InferRetrieveRank, texts: Sequence[str], wish: Wish
) -> list[Prediction | BaseException]:
    """The answers to a request's texts, of which few wait at a time, so that other requests get between."""
    free = asyncio.Semaphore(_GROUPS * program.stages.group_texts * program.stages.workers)

    async def one(text: str) -> Prediction:
        async with free:
            return await program.aclassify(text, wish.top_k, wish.trace, wish.decision)

    return await asyncio.gather(*map(one, texts), return_exceptions=True)


def _checked(found: Prediction | BaseException) -> Prediction:
    if isinstance(found, Prediction):
        return found
    if isinstance(found, IrrError) or not isinstance(found, Exception):
        raise found
    logger.error("a text could not be answered", exc_info=found)
    return Prediction(error=refusal_of(found).error)
