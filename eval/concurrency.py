"""Concurrent callers of one program against its `batch`, over the same sentences in one run.

python -m eval.concurrency --data DIR --name concurrency

Rounds alternate, because machines drift; rates are of medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from eval.record import record
from irr.io.texts import TextRow, read_rows
from irr.program.program import InferRetrieveRank, build
from irr.types import Prediction

THREADS, TASKS = 32, 200
Answers = list[Prediction]


def in_batch(program: InferRetrieveRank, texts: Sequence[str]) -> Answers:
    """By `batch`, which the others are measured against."""
    return list(program.batch(texts))


def alone(program: InferRetrieveRank, texts: Sequence[str]) -> Answers:
    """By one caller, a text at a time."""
    return [program(text) for text in texts]


def by_threads(program: InferRetrieveRank, texts: Sequence[str]) -> Answers:
    """By threads, each of which asks for its next text when it has its answer."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(program, texts))


def by_tasks(program: InferRetrieveRank, texts: Sequence[str]) -> Answers:
    """By asyncio tasks, likewise."""

    async def ask() -> Answers:
        free = asyncio.Semaphore(TASKS)

        async def one(text: str) -> Prediction:
            async with free:
                return await program.aclassify(text)

        return await asyncio.gather(*map(one, texts))

    return asyncio.run(ask())


def measured(program: InferRetrieveRank, texts: Sequence[str], rounds: int) -> dict[str, Any]:
    """Rates of all ways to ask, and how far their answers are from those of `batch`."""
    ways: dict[str, tuple[Callable[[InferRetrieveRank, Sequence[str]], Answers], Sequence[str]]] = {
        "batch": (in_batch, texts),
        f"{THREADS} threads": (by_threads, texts),
        f"{TASKS} asyncio tasks": (by_tasks, texts),
        "one caller": (alone, texts[: max(20, len(texts) // 8)]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, Answers] = {}
    for _ in range(rounds):
        for name, (ask, some) in ways.items():
            start = time.perf_counter()
            answers[name] = ask(program, some)
            seconds[name].append((time.perf_counter() - start) / len(some))
    rates = {name: 1 / statistics.median(column) for name, column in seconds.items()}
    return {
        "texts": len(texts),
        "texts_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "of_batch": {name: round(rate / rates["batch"], 3) for name, rate in rates.items()},
        "answers": {name: difference(found, answers["batch"]) for name, found in answers.items()},
    }


def difference(found: Sequence[Prediction], expected: Sequence[Prediction]) -> dict[str, Any]:
    """How many answers are those of the batch, bit for bit or by their labels, and how far scores differ."""
    pairs = list(zip(found, expected, strict=False))
    names = [[[label.id for label in p.labels] for p in pair] for pair in pairs]
    labels = [both for one, other in pairs for both in zip(one.labels, other.labels, strict=False)]
    return {
        "identical": sum(one == other for one, other in pairs),
        "same_order": sum(one == other for one, other in names),
        "of": len(pairs),
        "largest_difference_of_scores": max(abs(one.score - other.score) for one, other in labels),
    }


def main() -> None:
    """Measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=400, help="how many sentences (default 400)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()
    esco = arguments.data / "esco"
    texts = [row.text for _, row in read_rows(esco / "test.jsonl", TextRow)][: arguments.texts]
    program = build(esco / "labels.jsonl")
    program.warm_up()
    figures = measured(program, texts, arguments.rounds)
    print(json.dumps(figures, indent=2))
    if arguments.name:
        record(arguments.name, figures)


if __name__ == "__main__":
    main()
