"""The service under load: its speed against `batch` in one run, and what goes wrong in minutes of rough use.

python -m eval.serve speed --data DIR --name serve_speed           # 64 clients, ESCO sentences
python -m eval.serve search --data DIR --name serve_search         # labels while one types
python -m eval.serve load --data DIR --minutes 10 --name serve_load
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from eval.record import record
from irr.builder import build
from irr.config import Settings
from irr.frozen.freeze import freeze
from irr.io.texts import TextRow, read_rows
from irr.labels.space import LabelSpace
from irr.pipeline import InferRetrieveRank

CLIENTS, RELOAD_SECONDS = 64, 10
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


async def speed(
    program: InferRetrieveRank, folder: Path, texts: Sequence[str], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Texts a second of 64 clients and of `batch`, by turns; the latency beside the time of a full batch."""
    rates: dict[str, list[float]] = {"batch": [], "served": []}
    latencies: list[float] = []
    expected = rows_of(program, texts)
    wrong = 0

    async def client(session: aiohttp.ClientSession, waiting: Iterator[int]) -> None:
        nonlocal wrong
        for number in waiting:
            began = time.perf_counter()
            status, _program, row = await ask(session, texts[number])
            latencies.append(time.perf_counter() - began)
            wrong += status != 200 or row["labels"] != expected[number]

    with service(folder) as (address, _pid):
        async with session_at(address) as session:
            await ask(session, texts[0])
            for _ in range(arguments.rounds):
                began = time.perf_counter()
                rows_of(program, texts)
                rates["batch"].append(len(texts) / (time.perf_counter() - began))
                began = time.perf_counter()
                waiting = iter(range(len(texts)))
                await asyncio.gather(*(client(session, waiting) for _ in range(CLIENTS)))
                rates["served"].append(len(texts) / (time.perf_counter() - began))
    batch, served = (statistics.median(rates[name]) for name in ("batch", "served"))
    full = program.group_texts / batch
    p50, p99 = np.quantile(latencies, [0.5, 0.99])
    return {
        "texts": len(texts),
        "clients": CLIENTS,
        "batch_texts_per_second": round(batch, 2),
        "served_texts_per_second": round(served, 2),
        "served_of_batch": round(served / batch, 3),
        "rounds": {name: [round(rate, 2) for rate in column] for name, column in rates.items()},
        "full_batch_seconds": round(full, 3),
        "p50_seconds": round(float(p50), 3),
        "p99_seconds": round(float(p99), 3),
        "p99_of_full_batch": round(float(p99) / full, 3),
        "wrong": wrong,
    }


async def search(
    program: InferRetrieveRank, folder: Path, texts: Sequence[str], _arguments: argparse.Namespace
) -> dict[str, Any]:
    """Milliseconds until labels are found: what is typed of names, letter by letter; idle, and under load."""
    chance = random.Random(0)
    names = [label.name for label in chance.sample(program.space.labels, 40)]
    typed = [name[:end] for name in names for end in range(2, min(len(name), 24), 3)]
    figures: dict[str, Any] = {"labels": len(program.space), "queries": len(typed)}

    async def timed(session: aiohttp.ClientSession) -> dict[str, float]:
        seconds = []
        for query in typed:
            began = time.perf_counter()
            async with session.get("/v1/labels", params={"query": query}) as answer:
                assert answer.status == 200
                await answer.read()
            seconds.append(1_000 * (time.perf_counter() - began))
        return {f"p{q}_ms": round(float(np.quantile(seconds, q / 100)), 1) for q in (50, 95, 99)}

    with service(folder) as (address, _pid):
        async with session_at(address) as session:
            await timed(session)
            figures["idle"] = await timed(session)

            async def busy() -> None:
                while True:
                    await ask(session, chance.choice(texts))

            load = [asyncio.create_task(busy()) for _ in range(8)]
            figures["while_8_clients_classify"] = await timed(session)
            for task in load:
                task.cancel()
            await asyncio.gather(*load, return_exceptions=True)
            found = []
            for name in names:
                async with session.get("/v1/labels", params={"query": name, "limit": 1}) as answer:
                    found.append((await answer.json())["labels"][0]["name"])
    figures["names_found_first"] = f"{sum(a == b for a, b in zip(names, found, strict=True))} of {len(names)}"
    return figures


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
        seen.wrong += status == 200 and row["labels"] != expected[program][text]
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


async def slow(address: str, texts: Sequence[str], seen: Rough, number: int) -> None:
    """Sends a request piece by piece over seconds, and expects its answer."""
    chance = random.Random(number)
    host, port = address.removeprefix("http://").split(":")
    while True:
        reader, writer = await asyncio.open_connection(host, int(port))
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
    host, port = address.removeprefix("http://").split(":")
    while True:
        _, writer = await asyncio.open_connection(host, int(port))
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


def rows_of(program: InferRetrieveRank, texts: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The labels of each text, by `batch`."""
    return [[label.model_dump(exclude_none=True) for label in p.labels] for p in program.batch(texts, TOP_K)]


def main() -> None:
    """Measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("speed", "search", "load"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=256, help="how many sentences (default 256)")
    parser.add_argument("--rounds", type=int, default=3, help="of speed (default 3)")
    parser.add_argument("--minutes", type=float, default=10, help="of load (default 10)")
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()
    os.environ.pop("IRR_TOKEN", None)
    esco = arguments.data / "esco"
    texts = list(dict.fromkeys(row.text for _, row in read_rows(esco / "test.jsonl", TextRow)))
    texts = texts[: arguments.texts]
    program = build(LabelSpace.read(esco / "labels.jsonl"))
    program.warm_up()
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "program"
        freeze(program, folder)
        work = {"speed": speed, "search": search, "load": load}[arguments.what]
        figures = asyncio.run(work(program, folder, texts, arguments))
    print(json.dumps(figures, indent=2))
    if arguments.name:
        record(arguments.name, figures)


if __name__ == "__main__":
    main()
