"""A model server in a process of its own that takes its time: `python -m tests.doubles.slow_server`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

from aiohttp import web


@contextlib.contextmanager
def slow_server(seconds: float, slots: int) -> Iterator[str]:
    """Runs the server for the length of a block; yields its address.

    Args:
        seconds: How long an answer takes.
        slots: How many requests it works on at a time.
    """
    command = [sys.executable, "-m", "tests.doubles.slow_server", str(seconds), str(slots)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


async def _serve(seconds: float, slots: int) -> None:
    """Answers every chat with one ranking, `seconds` after it got one of the `slots`."""
    free = asyncio.Semaphore(slots)
    answer = json.dumps(
        {
            "choices": [{"message": {"content": '{"ranking": [2, 1]}'}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 300, "completion_tokens": 8},
        }
    ).encode()

    asked = 0

    async def count(_request: web.Request) -> web.Response:
        return web.json_response(asked)

    async def chat(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await request.read()
        async with free:
            await asyncio.sleep(seconds)
        return web.Response(body=answer, content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/asked", count)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("slots", type=int)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.seconds, arguments.slots))
