"""A model server on this machine whose answers are drawn: right, odd, torn, or no answer at all."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from eval.fuzz.damage import torn
from eval.fuzz.values import string, value, words


class DrawnServer:
    """Answers every request as `draw` has it; `draw` is set before each case."""

    port = 0
    draw = random.Random()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any path gets an answer of the same making."""
        await request.read()
        draw = self.draw
        status = draw.choice((200,) * 12 + (400, 401, 404, 500))
        headers = {"Retry-After": "0"} if status == 500 else {}
        body = _body(draw)
        kind = draw.random()
        if kind < 0.05 and request.transport:
            request.transport.close()
        if kind > 0.9:
            body = torn(draw, body)
        return web.Response(status=status, body=body, headers=headers, content_type="application/json")


def _body(draw: random.Random) -> bytes:
    content = draw.choice(
        (
            json.dumps({"terms": [words(draw) for _ in range(3)]}),
            json.dumps({"ranking": draw.sample(range(1, 9), 4)}),
            json.dumps({draw.choice(("terms", "ranking")): value(draw)}),
            json.dumps({"terms": draw.choice("[{(\"'")}),
            "[" * 5_000,
            string(draw),
            value(draw),
        )
    )
    usage: Any = {"prompt_tokens": 10, "completion_tokens": 3}
    choice: Any = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    answer: Any = {"choices": [choice], "usage": usage}
    if draw.random() < 0.4:
        part = draw.choice((answer, choice, choice["message"], usage))
        part[draw.choice(list(part))] = value(draw)
    if draw.random() < 0.05:
        answer = draw.choice((value(draw), {"error": {"message": string(draw)}}))
    return json.dumps(answer).encode()


@contextmanager
def drawn_server() -> Iterator[DrawnServer]:
    """Runs the server in a thread for the length of a block."""
    server, loop = DrawnServer(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", server.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.port = runner.addresses[0][1]
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
