"""The guard in front of all routes: checks who asks, how large a request is, and how long it takes."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from irr.workbench.serve.service import Refusal, ServiceMetrics

# The values of Sec-Fetch-Site with which a browser marks requests of the service's own pages.
_OWN_PAGES = ("none", "same-origin")
# Paths that need no token; the files of the review page hold no data, and ask for the token.
_PUBLIC = ("/healthz", "/readyz", "/review")
_NO_ANSWER = 499  # the caller left


@dataclass(frozen=True)
class Access:
    """Who may ask, and how much.

    Attributes:
        token: What requests must carry as `Authorization: Bearer TOKEN`. Without one, only requests that name
            this machine as their host are answered, so that no page of another site gets through a browser.
        body: Bytes of a request, at most.
        seconds: Seconds from the first byte of a request to its answer, at most.
    """

    token: str | None = None
    body: int = 8 * 2**20
    seconds: float = 60.0


def is_local(host: str) -> bool:
    """Whether a host is this machine, as only its own programs name it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """Refuses requests or passes them to an application, and counts them.

    The application receives the whole body at once. It is cancelled when the caller leaves or time is up.
    """

    def __init__(self, app: ASGIApp, access: Access, metrics: ServiceMetrics) -> None:
        self._app = app
        self._access = access
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        status = _NO_ANSWER

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        start = time.perf_counter()
        try:
            await self._answer(scope, receive, watched_send)
        except ClientDisconnect:
            pass
        except Refusal as e:
            if status == _NO_ANSWER:
                await e.response(scope, receive, watched_send)
        finally:
            self._metrics.count_request(scope, status, time.perf_counter() - start)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check(scope)
        try:
            async with asyncio.timeout(self._access.seconds):
                body = await self._read(scope, receive)
                await self._pass(scope, body, receive, send)
        except TimeoutError as e:
            message = f"no answer within {self._access.seconds:g} seconds: send fewer texts, or later"
            raise Refusal(504, "timeout", message) from e

    def _check(self, scope: Scope) -> None:
        headers, token = Headers(scope=scope), self._access.token
        if scope["method"] not in ("GET", "HEAD") and headers.get("sec-fetch-site", "none") not in _OWN_PAGES:
            raise Refusal(403, "forbidden", "a page of another site may not ask for this")
        if token is None:
            if not is_local(_without_port(headers.get("host", ""))):
                message = "without a token only requests to localhost are answered: set IRR_TOKEN"
                raise Refusal(403, "forbidden", message)
            return
        if scope["path"] in _PUBLIC or scope["path"].startswith("/review/"):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode("latin-1"), token.encode())
        if scheme.lower() != "bearer" or not known:
            message = "no token, or another one: send Authorization: Bearer TOKEN"
            raise Refusal(401, "unauthorized", message, www_authenticate="Bearer")

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The body; a `ClientDisconnect` if the caller left."""
        limit = self._access.body
        message = f"the request is larger than {limit:,} bytes: send fewer texts at a time"
        too_large = Refusal(413, "too_large", message, connection="close")
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise too_large
        body = bytearray()
        async for part in Request(scope, receive).stream():
            body += part
            if len(body) > limit:
                raise too_large
        return bytes(body)

    async def _pass(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Runs the application on a body, until it ends or the caller leaves."""
        leaving = asyncio.ensure_future(receive())
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_whole() -> Message:
            return messages.pop() if messages else await asyncio.shield(leaving)

        work = asyncio.ensure_future(self._app(scope, receive_whole, send))
        try:
            await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
        finally:
            leaving.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait((work,))


def _without_port(host: str) -> str:
    with contextlib.suppress(ValueError):
        return urlsplit(f"//{host}").hostname or ""
    return ""
