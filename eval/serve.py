"""The service under load: its speed against `batch` in one run, and what goes wrong in minutes of rough use.

python -m eval.serve speed --data DIR --name serve_speed           # 64 clients, ESCO sentences
python -m eval.serve search --data DIR --name serve_search         # labels while one types
python -m eval.serve load --data DIR --minutes 10 --name serve_load
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from eval.load import load
from eval.record import record
from eval.service import ask, differs, rows_of, service, session_at
from irr.frozen.freeze import freeze
from irr.io.texts import TextRow, read_rows
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank, build

CLIENTS = 64


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
            wrong += status != 200 or differs(row["labels"], expected[number])

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
    full = program.stages.group_texts / batch
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
