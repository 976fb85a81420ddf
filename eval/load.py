"""Minutes of rough use of the service, and what goes wrong in them: a part of `python -m eval.serve`."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from eval.service import TOP_K, ask, differs, rows_of, service, session_at
from irr.config import Settings
from irr.frozen.freeze import freeze
from irr.program.program import InferRetrieveRank, build

RELOAD_SECONDS = 10


@dataclass
class Rough:
    """What minutes of rough use came to."""

    answered: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    wrong_refusals: int = 0
    wrong_reloads: int = 0
    lost: int = 0
    malformed: int = 0
    slow: int = 0
    left: int = 0
    reloads: int = 0
    mib: list[float] = field(default_factory=list)


async def load(
    program: InferRetrieveRank, folder: Path, texts: Sequence[str], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Good callers beside malformed bodies, slow callers, callers who leave, and a swap every ten seconds."""
    other = build(
        program.space,
        encoder=program.encoder,
        settings=Settings().replace({"retrieve.text_weight": 0.3}),
    )
    both = (other, program)
    expected = {one.digest: dict(zip(texts, rows_of(one, texts), strict=True)) for one in both}
    seen = Rough()
    with service(folder) as (address, pid):
        async with session_at(address) as session:
            workers = [
                *(good(session, texts, expected, seen, i) for i in range(16)),
                *(malformed(session, seen, i) for i in range(2)),
                *(slow(address, texts, seen, i) for i in range(4)),
                *(leaving(address, texts, seen, i) for i in range(4)),
                reloading(session, folder, both, seen),
                watching(pid, seen),
            ]
            tasks = [asyncio.create_task(work) for work in workers]
            done, _ = await asyncio.wait(
                tasks, timeout=60 * arguments.minutes, return_when=asyncio.FIRST_EXCEPTION
            )
            for task in done:
                task.result()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            status, _program, _row = await ask(session, texts[0])
            seen.lost += status != 200
    fifth = max(1, len(seen.mib) // 5)
    tenths = [round(float(part.mean()), 1) for part in np.array_split(seen.mib, 10) if len(part)]
    before, after = statistics.mean(seen.mib[fifth : 2 * fifth]), statistics.mean(seen.mib[-fifth:])
    return {
        "minutes": arguments.minutes,
        "answered": sum(seen.answered.values()),
        "answered_by_program": dict(seen.answered),
        "wrong": seen.wrong,
        "wrong_refusals": seen.wrong_refusals,
        "wrong_reloads": seen.wrong_reloads,
        "lost": seen.lost,
        "reloads": seen.reloads,
        "malformed_bodies": seen.malformed,
        "slow_callers": seen.slow,
        "callers_who_left": seen.left,
        "mib_second_fifth": round(before, 1),
        "mib_last_fifth": round(after, 1),
        "mib_peak": round(max(seen.mib), 1),
        "memory_change": round(after / before - 1, 4),
        "mib_by_tenth": tenths,
    }


async def good(
    session: aiohttp.ClientSession, texts: Sequence[str], expected: dict[str, Any], seen: Rough, number: int
) -> None:
    """Asks, and checks every answer against that of the program which it names."""
    chance = random.Random(number)
    while True:
        text = chance.choice(texts)
        try:
            status, program, row = await ask(session, text)
        except aiohttp.ClientError:
            seen.lost += 1
            continue
        seen.lost += status != 200
        seen.wrong += status == 200 and differs(row["labels"], expected[program][text])
        seen.answered[program[:8]] += status == 200


async def malformed(session: aiohttp.ClientSession, seen: Rough, number: int) -> None:
    """Sends what is no request, and expects to be told so."""
    chance = random.Random(number)
    bodies = [
        b"",
        b"{",
        b"[]",
        b'{"text": 5}',
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"text": "a", "x": 1}',
        b"{}" * 9,
    ]
    bodies += [json.dumps({"text": "a", "top_k": 10**30}).encode(), b'{"texts": {"a": 1}}', b" " * 9 * 2**20]
    while True:
        async with session.post("/v1/classify", data=chance.choice(bodies)) as answer:
            row = await answer.json()
            seen.wrong_refusals += answer.status not in (400, 413) or not row["error"]
        seen.malformed += 1
        await asyncio.sleep(0.2)


def _raw(text: str) -> bytes:
    body = json.dumps({"text": text, "top_k": TOP_K}).encode()
    head = [
        "POST /v1/classify HTTP/1.1",
        "host: localhost",
        "connection: close",
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


async def _connected(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection of its own to the service."""
    host, port = address.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def slow(address: str, texts: Sequence[str], seen: Rough, number: int) -> None:
    """Sends a request piece by piece over seconds, and expects its answer."""
    chance = random.Random(number)
    while True:
        reader, writer = await _connected(address)
        request = _raw(chance.choice(texts))
        cuts = sorted(chance.sample(range(len(request)), 4))
        for start, end in zip([0, *cuts], [*cuts, len(request)], strict=True):
            writer.write(request[start:end])
            await writer.drain()
            await asyncio.sleep(chance.uniform(0.1, 1))
        answer = await reader.read()
        seen.lost += not answer.startswith(b"HTTP/1.1 200")
        seen.slow += 1
        writer.close()


async def leaving(address: str, texts: Sequence[str], seen: Rough, number: int) -> None:
    """Leaves at any moment: in the middle of a request, or before the answer."""
    chance = random.Random(number)
    while True:
        _, writer = await _connected(address)
        request = _raw(chance.choice(texts))
        writer.write(request[: chance.choice([len(request), len(request), chance.randrange(len(request))])])
        await writer.drain()
        await asyncio.sleep(chance.uniform(0, 0.5))
        writer.transport.abort()
        seen.left += 1


async def reloading(
    session: aiohttp.ClientSession, folder: Path, both: Sequence[InferRetrieveRank], seen: Rough
) -> None:
    """Freezes the other program into the folder, and has it swapped in."""
    while True:
        for program in both:
            await asyncio.sleep(RELOAD_SECONDS)
            await asyncio.to_thread(freeze, program, folder)
            async with session.post("/v1/reload") as answer:
                state = await answer.json()
                seen.wrong_reloads += answer.status != 200 or state["program"] != program.digest
            seen.reloads += 1


async def watching(pid: int, seen: Rough) -> None:
    """Notes the memory of the service once a second."""
    while True:
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        seen.mib.append(next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024)
        await asyncio.sleep(1)
