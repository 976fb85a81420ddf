"""Posts JSON to a model server, and tries again where that may help."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import math
import os
import random
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from irr.errors import LMError, LMUnavailableError
from irr.lm.openai.address import check_address, quoted, read_key
from irr.lm.openai.failures import Reply, failure_of
from irr.lm.openai.limits import Flow, Limits
from irr.lm.openai.outage import Outage

if TYPE_CHECKING:
    import aiohttp

# Far above any answer that is asked for; a longer one is refused.
_LARGEST_ANSWER = 4_000_000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0
# Seconds that a text waits for a server that asks for a pause, unless the patience is longer.
_LONGEST_RETRY_AFTER = 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Connection:
    session: aiohttp.ClientSession
    flow: Flow
    outage: Outage


class Endpoint:
    """An OpenAI-compatible server. Each request reads the key from the environment; it is stored nowhere.

    Args:
        api_base: Its address, usually ending in `/v1`.
        timeout: Seconds that one try may take.
        retries: Tries after the first.
        limits: Concurrency and rate limits.

    Raises:
        UsageError: If the address is not a plain http(s) URL, or the key cannot be sent.
    """

    def __init__(self, api_base: str, *, timeout: float, retries: int, limits: Limits) -> None:
        self.base = check_address(api_base)
        read_key()
        # vLLM's own endpoints lie beside /v1.
        self.root = self.base.removesuffix("/v1")
        self._timeout = timeout
        self._retries = retries
        self._limits = limits
        # Whether this address has ever answered: then a failure means that it is down, not wrong.
        self._answered = False
        self._connections: dict[asyncio.AbstractEventLoop, _Connection] = {}
        _endpoints.add(self)
        atexit.register(_close_at_exit, weakref.ref(self))
        weakref.finalize(self, _close_soon, self._connections).atexit = False

    async def post(self, url: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
        """Posts `body`; returns the answer and the seconds that the answered try took.

        Raises:
            LMError: If no usable answer came after all tries.
            LMUnavailableError: If the server refuses the key, the model or the address, or stays down.
        """
        began = time.monotonic()
        tried = 0
        while True:
            since = time.monotonic()
            asked_pause = 0.0
            try:
                reply = await self._exchange(url, body)
                if reply.status == 200:
                    return _parse(reply.body), reply.seconds
                asked_pause = reply.retry_after or 0.0
                error = failure_of(reply, url)
            except LMError as e:
                error = e
            if not error.retryable or asked_pause > max(_LONGEST_RETRY_AFTER, self._limits.patience):
                raise error
            if asked_pause > _LONGEST_RETRY_AFTER:
                logger.warning("%s asks for a pause of %.0f s", self.base, asked_pause)
            if tried >= self._retries:
                if error.code == "rate_limited":
                    if time.monotonic() - began >= self._limits.patience:
                        raise error
                elif await self._connection().outage.outlast(error, since):
                    tried = 0
                    continue
                else:
                    raise error
            # A random share of the pause spreads out requests that failed together.
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**tried) * random.uniform(0.5, 1.0)
            tried += 1
            logger.info("trying again in %.1f s: %s", max(pause, asked_pause), error)
            await asyncio.sleep(max(pause, asked_pause))

    async def close(self) -> None:
        """Closes the connections that belong to the running event loop."""
        connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            await connection.session.close()

    async def _exchange(self, url: str, body: Mapping[str, Any]) -> Reply:
        """Sends one request and returns its reply; tests replace this method."""
        import aiohttp

        connection = self._connection()
        key = read_key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        expected = self._expected_tokens(body)
        async with connection.flow.request(expected):
            started = time.perf_counter()
            try:
                # Redirects are refused, because they could carry the text or the key to another host.
                async with connection.session.post(
                    url, json=body, headers=headers, allow_redirects=False
                ) as response:
                    content = bytearray()
                    async for chunk in response.content.iter_chunked(65_536):
                        content += chunk
                        if len(content) > _LARGEST_ANSWER:
                            raise LMError("unparsable", f"the answer exceeds {_LARGEST_ANSWER:,} bytes")
                    pause = _seconds(response.headers.get("Retry-After"))
                    reply = Reply(response.status, bytes(content), time.perf_counter() - started, pause)
            except TimeoutError as e:
                connection.flow.overloaded(0.0)
                message = f"no answer from {self.base} within {self._timeout:g} s"
                raise LMError("timeout", message, "lower --concurrency", True) from e
            except (aiohttp.ClientError, OSError) as e:
                if not self._answered and isinstance(e, _wrong_addresses()):
                    message = f"no model server at {self.base} ({_cause(e)})"
                    raise LMUnavailableError("refused", message, "correct --api-base") from e
                message = f"no answer from {self.base} ({type(e).__name__})"
                raise LMError("unreachable", message, "check that the server runs there", True) from e
        self._answered = True
        if reply.status in (429, 503):
            connection.flow.overloaded(min(reply.retry_after or 0.0, self._limits.patience))
        else:
            connection.flow.answered(_tokens(reply.body) - expected if expected else 0.0)
        return reply

    def _expected_tokens(self, body: Mapping[str, Any]) -> float:
        """An estimate that the answer corrects; 0 where tokens are not limited."""
        return len(json.dumps(body)) / 4 if self._limits.tokens_per_minute else 0.0

    async def _is_up(self) -> bool:
        """Whether the server answers, and without a server error."""
        import aiohttp

        try:
            timeout = aiohttp.ClientTimeout(total=min(self._timeout, 10.0))
            async with self._connection().session.get(f"{self.base}/models", timeout=timeout) as response:
                return response.status < 500
        except (TimeoutError, aiohttp.ClientError, OSError):
            return False

    def _connection(self) -> _Connection:
        loop = asyncio.get_running_loop()
        connection = self._connections.get(loop)
        if connection is None:
            import aiohttp

            for dead in [other for other in list(self._connections) if other.is_closed()]:
                self._connections.pop(dead, None)

            session = aiohttp.ClientSession(
                connector=_connector_class()(),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
            )
            outage = Outage(self.base, self._limits.patience, self._is_up)
            connection = _Connection(session, Flow(self._limits), outage)
            self._connections[loop] = connection
        return connection


@cache
def _connector_class() -> Any:
    import aiohttp

    class Connector(aiohttp.TCPConnector):
        """Closes connections only in the process that opened them: a forked child shares their sockets."""

        def __init__(self) -> None:
            super().__init__(limit=0)  # `Flow` limits the requests
            self._opened_by = os.getpid()

        def __del__(self, *arguments: Any) -> None:
            if self._opened_by == os.getpid():
                super().__del__(*arguments)

    return Connector


_endpoints: weakref.WeakSet[Endpoint] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """In a forked child: drops the connections, which belong to the parent and its event loop."""
    for endpoint in _endpoints:
        for connection in endpoint._connections.values():
            connection.session.detach()
        endpoint._connections.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


def _wrong_addresses() -> tuple[type[Exception], ...]:
    """The exceptions of aiohttp that mean an unknown host, or a host without https."""
    import aiohttp

    return (aiohttp.ClientConnectorDNSError, aiohttp.ClientSSLError, aiohttp.InvalidURL)


def _cause(error: Exception) -> str:
    reason = getattr(error, "os_error", None) or getattr(error, "certificate_error", None)
    return quoted(str(getattr(reason, "strerror", None) or reason or type(error).__name__))


def _close_soon(connections: dict[asyncio.AbstractEventLoop, _Connection]) -> None:
    for loop, connection in connections.items():
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(connection.session.close(), loop)


def _close_at_exit(endpoint: weakref.ref[Endpoint]) -> None:
    # aiohttp warns on stderr about open connections; only a running loop can close them.
    alive = endpoint()
    for loop in list(alive._connections) if alive else ():
        if alive and loop.is_running():
            asyncio.run_coroutine_threadsafe(alive.close(), loop).result(timeout=2)


def _tokens(body: bytes) -> float:
    """The tokens of the request and its answer, as the answer reports them."""
    try:
        usage = json.loads(body)["usage"]
        return float(usage["prompt_tokens"]) + float(usage.get("completion_tokens", 0))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 0.0


def _parse(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as e:
        raise LMError("unparsable", "the server's answer is not JSON", "check the address") from e
    if not isinstance(answer, dict):
        raise LMError("unparsable", "the server's answer is not a JSON object", "check the address")
    return answer


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None
