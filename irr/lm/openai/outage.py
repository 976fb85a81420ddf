"""Holds requests while a model server is down, and lets them go on when it answers again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from irr.errors import LMError, LMUnavailableError

_FIRST_PROBE, _LONGEST_PROBE = 1.0, 15.0

logger = logging.getLogger(__name__)


class Outage:
    """Probes a server that is down, on behalf of all requests that wait.

    Args:
        server: Its name in messages.
        patience: Seconds of waiting before it is given up.
        is_up: Asks whether the server answers.
    """

    def __init__(self, server: str, patience: float, is_up: Callable[[], Awaitable[bool]]) -> None:
        self._server = server
        self._patience = patience
        self._is_up = is_up
        self._asking = asyncio.Lock()
        self._back = 0.0
        self._given_up = False

    async def outlast(self, error: LMError, since: float) -> bool:
        """Whether the server was down for a request sent at `since`, and is up again.

        Raises:
            LMUnavailableError: If it stays down for longer than the patience.
        """
        if not self._patience:
            return False
        async with self._asking:
            if self._back > since:
                return True
            if not self._given_up:
                if await self._is_up():
                    return False  # the server is up, and fails on this request only
                if await self._wait(error):
                    return True
            self._given_up = True
            message = f"{self._server} was down for {self._patience:,.0f} s ({error.message})"
            raise LMUnavailableError("down", message, "start it, and repeat the same call to go on")

    async def _wait(self, error: LMError) -> bool:
        logger.warning(
            "%s: waiting up to %.0f min for it; Ctrl-C stops, and the same call goes on later",
            error.message,
            self._patience / 60,
        )
        began, pause = time.monotonic(), _FIRST_PROBE
        while (left := began + self._patience - time.monotonic()) > 0:
            await asyncio.sleep(min(pause, left))
            pause = min(_LONGEST_PROBE, 1.5 * pause)
            if await self._is_up():
                self._back = time.monotonic()
                logger.warning("%s is back after %.0f s", self._server, self._back - began)
                return True
        return False
