"""A local server in the shape of an OpenAI-compatible one, which misbehaves on purpose."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Call:
    """One request as it came in."""

    path: str
    body: dict[str, Any]
    authorization: str | None
    request: web.Request


Behaviour = Callable[[Call, int], Awaitable[web.StreamResponse]]


@dataclass
class Desk:
    """One behaviour under an address of its own, and what it was asked; `most` is the most at a time."""

    api_base: str
    behaviour: Behaviour
    calls: list[Call] = field(default_factory=list)
    busy: int = 0
    most: int = 0


class FaultyServer:
    """Hands out an address for each behaviour; all of them are served by one thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._desks: dict[str, Desk] = {}
        self._numbers = itertools.count()

    def desk(self, behaviour: Behaviour) -> Desk:
        """Opens an address where every request gets `behaviour(call, number)`, numbers from 0."""
        key = f"desk{next(self._numbers)}"
        self._desks[key] = Desk(f"http://127.0.0.1:{self._port}/{key}/v1", behaviour)
        return self._desks[key]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        desk = self._desks[request.match_info["desk"]]
        path = "/" + request.match_info["path"]
        call = Call(path, await request.json(), request.headers.get("Authorization"), request)
        desk.calls.append(call)
        desk.busy += 1
        desk.most = max(desk.most, desk.busy)
        try:
            return await desk.behaviour(call, len(desk.calls) - 1)
        finally:
            desk.busy -= 1


@contextmanager
def faulty_server() -> Iterator[FaultyServer]:
    """Runs the server in a thread for the length of a block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> tuple[FaultyServer, web.AppRunner]:
        app = web.Application(client_max_size=2**26)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        sites: list[FaultyServer] = []

        async def answer(request: web.Request) -> web.StreamResponse:
            return await sites[0].answer(request)

        app.router.add_post("/{desk}/{path:.*}", answer)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sites.append(FaultyServer(runner.addresses[0][1]))
        return sites[0], runner

    server, runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        asyncio.run_coroutine_threadsafe(_end_all(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end_all() -> None:
    """Ends those answers that still sleep."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def completion(text: str | None, finish: str = "stop") -> web.Response:
    """A chat completion that costs 10 tokens, 4 of them cached, and 3 new ones."""
    return web.json_response(
        {
            "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}],
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 4},
            },
        }
    )


def failure(status: int, message: str = "no", **headers: str) -> web.Response:
    """An error in the words of an OpenAI-compatible server."""
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)
