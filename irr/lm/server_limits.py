"""Limits the concurrency and the rate of requests to a model server, and waits for one that is down."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from irr.errors import LMError, LMUnavailableError

_FIRST_CONCURRENCY = 8
# The growth of throughput that makes a higher limit worth its longer waits.
_WORTHWHILE = 1.05
_CUT = 0.7
# Rounds without a step after one that did not pay.
_REST = 10
_FIRST_PROBE, _LONGEST_PROBE = 1.0, 15.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Concurrency and rate limits of a model server, and the patience with it.

    Attributes:
        concurrency: Requests at a time; with `auto`, the highest number tried.
        auto: Whether to find the number of requests with the best throughput.
        requests_per_minute: Requests that may begin in a minute; None for any number.
        tokens_per_minute: Tokens that may be sent and generated in a minute; None for any number.
        patience: Seconds to wait for a server that is down or asks for a pause.
    """

    concurrency: int = 64
    auto: bool = False
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    patience: float = 0.0


class Flow:
    """Holds the requests of one event loop to the limits."""

    def __init__(self, limits: Limits) -> None:
        from anyio import CapacityLimiter

        self._finder = Finder(limits.concurrency) if limits.auto else None
        self._slots = CapacityLimiter(self._finder.limit if self._finder else limits.concurrency)
        self._requests = _Pace(limits.requests_per_minute)
        self._tokens = _Pace(limits.tokens_per_minute)
        self._held_until = 0.0

    @asynccontextmanager
    async def request(self, tokens: float) -> AsyncIterator[None]:
        """Waits until a request may begin, and counts it in the block; `tokens` estimates its cost."""
        async with self._slots:
            await self._requests.take(1)
            await self._tokens.take(tokens)
            while (pause := self._held_until - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            yield

    def answered(self, surplus: float) -> None:
        """Records an answer that cost `surplus` tokens more than estimated."""
        self._tokens.correct(surplus)
        if self._finder:
            self._finder.answered(time.monotonic(), full=self._slots.available_tokens <= 0)
            self._slots.total_tokens = self._finder.limit

    def overloaded(self, pause: float) -> None:
        """Records that the server is overloaded, and sends nothing for `pause` seconds."""
        self._held_until = max(self._held_until, time.monotonic() + pause)
        if self._finder:
            self._finder.overloaded()
            self._slots.total_tokens = self._finder.limit


class Finder:
    """Finds the number of requests at a time with the best throughput.

    The limit doubles at first, then grows by tenths while the rate of answers grows; a step that does not pay
    is taken back, and overload cuts the limit by 0.3 (additive increase, multiplicative decrease, as TCP:
    Chiu and Jain 1989), up to `most`.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = min(_FIRST_CONCURRENCY, most)
        self._doubling = True
        self._rest = self._sent_before = 0
        self._before = (self.limit, 0.0)
        self._round: tuple[float, int, bool] | None = None

    def answered(self, now: float, full: bool) -> None:
        """Counts an answer; `full` says whether the limit was reached. A round is two answers a place."""
        self._sent_before = max(0, self._sent_before - 1)
        if self._round is None:
            self._round = (now, 0, False)
            return
        began, answers, was_full = self._round
        self._round = (began, answers + 1, was_full or full)
        if answers + 1 < 2 * self.limit:
            return
        self._round = None
        if (was_full or full) and now > began:
            self._step((answers + 1) / (now - began))

    def overloaded(self) -> None:
        """Cuts the limit, once for all requests under way at a cut."""
        if self._sent_before:
            self._sent_before -= 1
            return
        self._sent_before = self.limit - 1
        self.limit = max(1, int(self.limit * _CUT))
        self._doubling = False
        self._before, self._rest = (self.limit, 0.0), _REST
        self._round = None

    def _step(self, rate: float) -> None:
        if self._rest:
            self._rest -= 1
            self._before = (self.limit, rate)
            return
        limit, before = self._before
        if rate < before * _WORTHWHILE and self.limit > limit:
            self.limit, self._doubling, self._rest = limit, False, _REST
            return
        self._before = (self.limit, rate)
        step = self.limit if self._doubling else max(1, self.limit // 10)
        self.limit = min(self._most, self.limit + step)


class _Pace:
    """Spreads amounts evenly over time, so that no minute exceeds its limit."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds = 60 / per_minute if per_minute else 0.0
        self._free = 0.0

    async def take(self, amount: float) -> None:
        if not self._seconds:
            return
        now = time.monotonic()
        start = max(now, self._free)
        self._free = start + amount * self._seconds
        if start > now:
            await asyncio.sleep(start - now)

    def correct(self, amount: float) -> None:
        self._free += amount * self._seconds


class Outage:
    """Probes a server that is down with `is_up`, on behalf of all requests, for `patience` seconds."""

    def __init__(self, server: str, patience: float, is_up: Callable[[], Awaitable[bool]]) -> None:
        self._server = server
        self._patience = patience
        self._is_up = is_up
        self._asking = asyncio.Lock()
        self._back = 0.0
        self._given_up = False

    async def outlast(self, error: LMError, since: float) -> bool:
        """Whether the server was down for a request sent at `since` and is up again; else it is given up."""
        if not self._patience:
            return False
        async with self._asking:
            if self._back > since:
                return True
            if not self._given_up:
                if await self._is_up():
                    return False  # the server is up, and fails on this request only
                plan = f"waiting up to {self._patience / 60:.0f} min for it"
                logger.warning("%s: %s; Ctrl-C stops, and the same call goes on later", error.message, plan)
                began, pause = time.monotonic(), _FIRST_PROBE
                while (left := began + self._patience - time.monotonic()) > 0:
                    await asyncio.sleep(min(pause, left))
                    pause = min(_LONGEST_PROBE, 1.5 * pause)
                    if await self._is_up():
                        self._back = time.monotonic()
                        logger.warning("%s is back after %.0f s", self._server, self._back - began)
                        return True
            self._given_up = True
            message = f"{self._server} was down for {self._patience:,.0f} s ({error.message})"
            raise LMUnavailableError("down", message, "start it, and repeat the same call to go on")
