"""What the batch job promises, measured: each command says what, and records it under a name if one is given.

python -m eval.batch kills --kills 100            # kill -9 at random moments; nothing lost, doubled or torn
python -m eval.batch kills --kills 100 --lm
python -m eval.batch repeated                     # work done twice because of a kill at 50 %
python -m eval.batch memory --rows 1000000
python -m eval.batch cost                         # CPU a row outside encoder and language model
python -m eval.batch throughput                   # against a server of 200 ms and 256 slots
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.batch_work import served, write_texts
from eval.record import record


@dataclass
class Kills:
    """What a series of kills came to."""

    kills: int = 0
    runs: int = 0
    lost: int = 0
    doubled: int = 0
    torn: int = 0


def kill_often(folder: Path, kills: int, rows: int, api_base: str | None, seed: int) -> Kills:
    """Kills runs at random moments, goes on with them, and compares each output with one of a quiet run.

    Raises:
        AssertionError: If a row is lost, doubled, torn, or answered otherwise.
    """
    moments = random.Random(seed)
    source = write_texts(folder / "texts.jsonl", rows)
    quiet = folder / "quiet.jsonl"
    began = time.monotonic()
    _work(source, quiet, api_base).wait()
    seconds = time.monotonic() - began
    expected = quiet.read_bytes()
    assert len(expected.splitlines()) == rows
    found = Kills()
    while found.kills < kills:
        output = folder / f"run{found.runs}.jsonl"
        found.runs += 1
        while not output.exists():
            process = _work(source, output, api_base)
            try:
                # Most moments are in the work itself, some before it and some after.
                process.wait(moments.uniform(0.3, 1.1) * seconds if found.kills < kills else None)
                assert process.returncode == 0
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                found.kills += 1
        answers = output.read_bytes()
        ids = [json.loads(line)["id"] for line in answers.splitlines()]
        found.lost += rows - len(set(ids))
        found.doubled += len(ids) - len(set(ids))
        found.torn += not answers.endswith(b"\n")
        assert answers == expected
        _work(source, output, api_base).wait()  # and once more: nothing is to do
        assert output.read_bytes() == expected
    return found


def kills(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kills runs of 2,000 rows, with or without a model server."""
    if not arguments.lm:
        return asdict(kill_often(folder, arguments.kills, arguments.rows or 2_000, None, seed=0))
    with served(0.05, 64) as address:
        return asdict(kill_often(folder, arguments.kills, arguments.rows or 2_000, address, seed=1))


def memory(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Resident memory over a long run: the mean of the last tenth of its rows against that of the first."""
    rows = arguments.rows or 1_000_000
    output = folder / "out.jsonl"
    part = output.with_name("out.jsonl.part")
    began = time.monotonic()
    process = _work(write_texts(folder / "texts.jsonl", rows), output, None)
    samples: list[tuple[int, int]] = []
    while process.poll() is None:
        time.sleep(0.05)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, StopIteration):
            status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
            samples.append((part.stat().st_size, resident))
    seconds = time.monotonic() - began
    size = output.stat().st_size
    first = [kib for done, kib in samples if 0 < done <= size / 10]
    last = [kib for done, kib in samples if done >= size * 9 / 10]
    with output.open("rb") as file:
        assert sum(1 for _ in file) == rows
    return {
        "rows": rows,
        "rows_per_second": rows / seconds,
        "first_tenth_mib": statistics.mean(first) / 1024,
        "last_tenth_mib": statistics.mean(last) / 1024,
        "peak_mib": max(kib for _, kib in samples) / 1024,
        "ratio": statistics.mean(last) / statistics.mean(first),
    }


def main() -> None:
    """Measures what the command line names, prints and records it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=sorted(COMMANDS))
    parser.add_argument("--rows", type=int, help="rows of a run, if not the usual number")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--lm", action="store_true", help="kills: with a model server")
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="irr-eval-") as folder:
        figures = COMMANDS[arguments.what](arguments, Path(folder))
    print(json.dumps(figures, indent=2))
    if arguments.name:
        record(arguments.name, figures)


COMMANDS: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "kills": kills,
    "memory": memory,
}


def _work(source: Path, output: Path, api_base: str | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "eval.batch_work", "classify", "--input"]
    command += [str(source), "--output", str(output)]
    if api_base:
        command += ["--api-base", api_base]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
