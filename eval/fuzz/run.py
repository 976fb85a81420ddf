"""Runs drawn inputs through every reader, and says which promises of SECURITY.md one of them broke.

python -m eval.fuzz --cases 10000 --seed 7 --name fuzz
python -m eval.fuzz --target skos --seed 7 --first 123 --cases 1

A case is known by its seed, target and number. The inputs of one that broke a promise are kept in build/fuzz.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

from eval.fuzz.cases import Finding, fuzzer
from eval.fuzz.targets import TARGETS
from eval.record import record

_KEPT = Path("build/fuzz").absolute()
_CHUNK = 500

Job = tuple[str, int]


def main() -> None:
    """Runs the cases, prints what was found, and records it if a name is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="default: another each time"
    )
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case of the target")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()
    jobs = plan(arguments.cases, arguments.target, arguments.first)
    chunks = [jobs[start : start + _CHUNK] for start in range(0, len(jobs), _CHUNK)]
    started = time.perf_counter()
    with ThreadPoolExecutor(arguments.processes) as pool:
        parts = pool.map(lambda chunk: run_cases(chunk, arguments.seed, _say), chunks)
        found = [finding for part in parts for finding in part]
    seconds = time.perf_counter() - started
    tried = Counter(target for target, _ in jobs)
    print(f"{len(jobs):,} cases, seed {arguments.seed}, {seconds:.0f} s: {len(found)} broke a promise")
    if arguments.name:
        figures = {
            "seed": arguments.seed,
            "cases": len(jobs),
            "by_target": dict(tried),
            "seconds": round(seconds),
        }
        record(arguments.name, {**figures, "findings": [asdict(finding) for finding in found]})
    sys.exit(1 if found else 0)


def plan(cases: int, target: str | None = None, first: int = 0) -> list[Job]:
    """Which cases to run: the targets by their weights, in turns."""
    if target:
        return [(target, first + i) for i in range(cases)]
    whole = sum(weight for _, weight in TARGETS.values())
    jobs = [(name, i) for name, (_, weight) in TARGETS.items() for i in range(-(-cases * weight // whole))]
    return sorted(jobs, key=lambda job: job[1] / TARGETS[job[0]][1])[:cases]


def _say(finding: Finding) -> None:
    call = " ".join(finding.call)[:300]
    print(f"{finding.target} {finding.number}: irr {call!r}\n  {finding.broke}\n", flush=True)


def run_cases(
    jobs: Sequence[Job], seed: int, on_finding: Callable[[Finding], None] | None = None
) -> list[Finding]:
    """Runs cases in a process of their own; one that ends it is a finding, too.

    Raises:
        RuntimeError: If not even the first case could be run.
    """
    context = multiprocessing.get_context("spawn")
    found: list[Finding] = []
    left = list(jobs)
    while left:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(left, seed, theirs))
        process.start()
        theirs.close()
        done = 0
        try:
            while True:
                finding = ours.recv()
                done += 1
                if finding:
                    found.append(finding)
                    if on_finding:
                        on_finding(finding)
        except EOFError:
            process.join()
        if process.exitcode:
            if not done:
                raise RuntimeError("no case could be run")
            if done < len(left):
                found.append(Finding(*left[done], f"the process ends with {process.exitcode}", ()))
            done += 1
        left = left[done:]
    return found


def _work(jobs: Sequence[Job], seed: int, results: Connection) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="irr-fuzz-") as folder,
        fuzzer(Path(folder), seed, _KEPT) as cases,
    ):
        for target, number in jobs:
            results.send(cases.run(target, number))
    results.close()
