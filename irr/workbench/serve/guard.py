"""The guard in front of all routes: who may ask, how large a request is, and how long it takes."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from irr.workbench.serve.refusals import Refusal

# Whose pages a browser says that a request comes from.
_OWN_PAGES = ("none", "same-origin")
_PROBES = ("/healthz", "/readyz")


@dataclass(frozen=True)
class Access:
    """Who may ask, and how much.

    Attributes:
        token: What requests must carry as `Authorization: Bearer TOKEN`. Without one, only requests that name
            this machine as their host are answered, so that no page of another site can reach the service
            through a browser.
        public: Paths, and what is below them, that need no token.
        body: Bytes of a request, at most.
        seconds: That a request may take, from its first byte to its answer.
    """

    token: str | None = None
    public: tuple[str, ...] = ()
    body: int = 8 * 2**20
    seconds: float = 60.0


def is_local(host: str) -> bool:
    """Whether a host is this machine, as only its own programs name it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _without_port(host: str) -> str:
    with contextlib.suppress(ValueError):
        return urlsplit(f"//{host}").hostname or ""
    return ""


class Guard:
    """Lets requests through to an application, or refuses them.

    The application has the whole body at once, and is stopped when the caller leaves or the time is over.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            self._check(scope)
            async with asyncio.timeout(self._access.seconds):
                body = await self._read(scope, receive)
                if body is not None:
                    await self._pass(scope, body, receive, noted)
                return
        except Refusal as e:
            refusal = e
        except TimeoutError:
            message = f"no answer within {self._access.seconds:g} seconds: send fewer texts, or later"
            refusal = Refusal(504, "timeout", message)
        if not started:
            answer = JSONResponse(refusal.body, refusal.status, refusal.headers)
            await answer(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers, access = Headers(scope=scope), self._access
        if scope["method"] not in ("GET", "HEAD") and headers.get("sec-fetch-site", "none") not in _OWN_PAGES:
            raise Refusal(403, "forbidden", "a page of another site may not ask for this")
        if access.token is None:
            if not is_local(_without_port(headers.get("host", ""))):
                message = "without a token only requests to localhost are answered: set IRR_TOKEN"
                raise Refusal(403, "forbidden", message)
            return
        path = scope["path"]
        if any(path == public or path.startswith(f"{public}/") for public in (*_PROBES, *access.public)):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode("latin-1"), access.token.encode())
        if scheme.lower() != "bearer" or not known:
            message = "no token, or another one: send Authorization: Bearer TOKEN"
            raise Refusal(401, "unauthorized", message, www_authenticate="Bearer")

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None if the caller left."""
        limit = self._access.body
        message = f"the request is larger than {limit:,} bytes: send fewer texts at a time"
        too_large = Refusal(413, "too_large", message, connection="close")
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > limit:
            raise too_large
        parts: list[bytes] = []
        size = 0
        while True:
            part = await receive()
            if part["type"] == "http.disconnect":
                return None
            parts.append(part.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise too_large
            if not part.get("more_body"):
                return b"".join(parts)

    async def _pass(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        given = False
        leaving = asyncio.ensure_future(receive())

        async def once() -> Message:
            nonlocal given
            if given:
                return await asyncio.shield(leaving)
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        work = asyncio.ensure_future(self._app(scope, once, send))
        try:
            await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
        finally:
            leaving.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait((work,))
