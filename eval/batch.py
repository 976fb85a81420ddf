"""What the batch job promises, measured: each command says what, and records it under a name if one is given.

python -m eval.batch kills --kills 100            # kill -9 at random moments; nothing lost, doubled or torn
python -m eval.batch kills --kills 100 --lm
python -m eval.batch repeated                     # work done twice because of a kill at 50 %
python -m eval.batch memory --rows 1000000
python -m eval.batch cost                         # CPU a row outside encoder and language model
python -m eval.batch throughput                   # against a server of 200 ms and 256 slots
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from eval.batch_work import write_texts


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


def _work(source: Path, output: Path, api_base: str | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "eval.batch_work", "classify", "--input", source, "--output", output]
    if api_base:
        command += ["--api-base", api_base]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)
