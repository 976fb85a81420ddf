"""What benchmarks of the batch job run in processes of their own: the job itself, and a model server.

    python -m eval.batch_work classify --input T.jsonl --output O.jsonl [--api-base URL]
    python -m eval.batch_work serve --seconds 0.2 --slots 256

The job runs with labels of its own and an encoder that hashes words, so that what is measured, or killed, is
the batch job and not an encoder.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from irr.batch import Job, local, run
from irr.builder import build
from irr.cli.monitor import Monitor
from irr.lm.openai.limits import Limits
from irr.lm.registry import open_model
from irr.pipeline import InferRetrieveRank

LABELS = [
    f"{verb} {thing}" for verb in ("bake", "wash", "buy", "sell") for thing in ("bread", "pans", "flour")
]
_DIMENSIONS = 32


class HashEncoder:
    """Sums a random vector a word: no model, and a few microseconds a text."""

    name = "hash"

    def __init__(self) -> None:
        self._words: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), 32)."""
        rows = np.zeros((len(texts), _DIMENSIONS), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.casefold().split():
                row += self._vector(word)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        unit: NDArray[np.float32] = (rows / np.where(norms, norms, 1)).astype(np.float32)
        return unit

    def _vector(self, word: str) -> NDArray[np.float32]:
        vector = self._words.get(word)
        if vector is None:
            if len(self._words) > 10_000:
                self._words.clear()
            vector = np.random.default_rng(zlib.crc32(word.encode())).standard_normal(_DIMENSIONS, np.float32)
            self._words[word] = vector
        return vector


def program(
    api_base: str | None = None, folder: Path | None = None, limits: Limits | None = None
) -> InferRetrieveRank:
    """The program; asked of a model server, listwise in rank, if one is named."""
    return build(
        LABELS,
        encoder=HashEncoder(),
        rank_lm=open_model("openai/any", api_base, limits) if api_base else None,
        index_folder=folder or Path(tempfile.gettempdir()) / "irr-eval-batch",
    )


def text(number: int) -> str:
    """A short text of its own."""
    return f"Bake bread number {number} and wash {number % 7} pans"


def write_texts(path: Path, rows: int) -> Path:
    """Writes a file of short texts."""
    with path.open("w", encoding="utf-8") as file:
        for i in range(rows):
            file.write(json.dumps({"id": f"t{i}", "text": text(i), "page": i}) + "\n")
    return path


@contextlib.contextmanager
def served(seconds: float, slots: int) -> Iterator[str]:
    """Runs a model server in a process of its own; yields its address."""
    command = [
        sys.executable,
        "-m",
        "eval.batch_work",
        "serve",
        "--seconds",
        str(seconds),
        "--slots",
        str(slots),
    ]
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


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    classify = commands.add_parser("classify")
    classify.add_argument("--input", required=True)
    classify.add_argument("--output", required=True)
    classify.add_argument("--api-base")
    classify.add_argument("--workers", type=int, default=0, help="on Ray, so many; 0 is without Ray")
    serve = commands.add_parser("serve")
    serve.add_argument("--seconds", type=float, required=True)
    serve.add_argument("--slots", type=int, required=True)
    arguments = parser.parse_args()
    if arguments.command == "serve":
        asyncio.run(_serve(arguments.seconds, arguments.slots))
        return
    job = Job(arguments.input, arguments.output)
    make = partial(program, arguments.api_base, limits=Limits(256, auto=True))
    work = local(job)
    if arguments.workers:
        from irr.batch.ray_engine import on_ray

        work = on_ray(job, make, arguments.workers)
    with Monitor(None) as monitor:
        run(job, make, work, monitor)


if __name__ == "__main__":
    main()
