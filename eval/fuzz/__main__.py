"""Runs drawn inputs through every reader, and says which promises of SECURITY.md one of them broke.

python -m eval.fuzz --cases 10000 --seed 7 --name fuzz
python -m eval.fuzz --seed 7 --first 123 --cases 1

A case is known by its seed and number. The inputs of one that broke a promise are kept in build/fuzz.
Before the first case the guard shows that it sees what it is to see.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from eval.fuzz.cases import Finding, work
from eval.fuzz.guard import check
from eval.record import finish, options

_CHUNK = 500


def main() -> None:
    """Runs the cases, prints what was found, and records it if a name is given."""
    parser = options(__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="another each time")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    check()
    print("the guard sees what it is to see")
    end = arguments.first + arguments.cases
    chunks = [range(start, min(start + _CHUNK, end)) for start in range(arguments.first, end, _CHUNK)]
    started = time.perf_counter()
    with ThreadPoolExecutor(arguments.processes) as pool:
        parts = pool.map(lambda chunk: run_cases(chunk, arguments.seed), chunks)
        found = [finding for part in parts for finding in part]
    figures = {
        "seed": arguments.seed,
        "cases": arguments.cases,
        "seconds": round(time.perf_counter() - started),
        "findings": [finding._asdict() for finding in found],
    }
    print(f"{arguments.cases:,} cases, seed {arguments.seed}: {len(found)} broke a promise")
    finish(figures, arguments.name, show=False)
    sys.exit(1 if found else 0)


def run_cases(numbers: Sequence[int], seed: int) -> list[Finding]:
    """Runs cases in a process of their own; one that ends it is a finding, too.

    Raises:
        RuntimeError: If not even the first case could be run.
    """
    context = multiprocessing.get_context("spawn")
    found: list[Finding] = []
    left = list(numbers)
    while left:
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(left, seed, theirs))
        process.start()
        theirs.close()
        done: list[Finding | None] = []
        try:
            while True:
                done.append(ours.recv())
                if finding := done[-1]:
                    print(f"{finding.target} {finding.number}: irr {json.dumps(finding.call)[:300]}")
                    print(f"  {finding.broke}\n", flush=True)
        except EOFError:
            process.join()
        if process.exitcode:
            if not done:
                raise RuntimeError("no case could be run")
            if len(done) < len(left):
                done.append(
                    Finding("unknown", left[len(done)], f"the process ends with {process.exitcode}", ())
                )
        found += filter(None, done)
        left = left[len(done) :]
    return found


if __name__ == "__main__":
    main()
