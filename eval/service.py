"""`irr serve` in a process of its own, what its callers ask, and what they ought to be told."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from irr.program.program import InferRetrieveRank

TOP_K = 5


@contextlib.contextmanager
def service(folder: Path, *options: str) -> Iterator[tuple[str, int]]:
    """`irr serve` over a frozen program; yields its address and the number of its process."""
    command = [sys.executable, "-m", "irr", "serve", "--program", str(folder), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        try:
            for line in process.stderr:
                if address := re.search(r"http://\S+", line):
                    break
            else:
                raise RuntimeError("the service did not start")
            draining = asyncio.get_running_loop().run_in_executor(None, process.stderr.read)
            yield address.group(), process.pid
        finally:
            process.terminate()
            if process.wait(120) != 0:
                raise RuntimeError(f"the service ended with {process.returncode}")
            del draining


async def ask(session: aiohttp.ClientSession, text: str) -> tuple[int, str, dict[str, Any]]:
    """Status, program and row of one text."""
    async with session.post("/v1/classify", json={"text": text, "top_k": TOP_K}) as answer:
        return answer.status, answer.headers.get("x-irr-program", ""), await answer.json()


def session_at(address: str) -> aiohttp.ClientSession:
    """A session with as many connections as callers."""
    timeout = aiohttp.ClientTimeout(total=120)
    return aiohttp.ClientSession(address, connector=aiohttp.TCPConnector(limit=0), timeout=timeout)


def differs(labels: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]]) -> bool:
    """Whether labels are others, but for the last digit of scores, which moves with how texts are grouped."""
    ids = [[label["id"] for label in some] for some in (labels, expected)]
    if ids[0] != ids[1]:
        return True
    return any(abs(one["score"] - other["score"]) > 1e-5 for one, other in zip(labels, expected, strict=True))


def rows_of(program: InferRetrieveRank, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The labels of each text, by `batch`."""
    return [[label.model_dump(exclude_none=True) for label in p.labels] for p in program.batch(texts, TOP_K)]
