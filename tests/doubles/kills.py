"""Kills batch jobs at random moments and goes on with them."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.doubles.batch_process import start, write_texts


@dataclass
class Kills:
    """What a series of kills came to."""

    kills: int = 0
    runs: int = 0


def kill_often(folder: Path, kills: int, rows: int, api_base: str | None, seed: int) -> Kills:
    """Kills runs at random moments, goes on with them, and compares each output with one of a quiet run.

    Raises:
        AssertionError: If a row is lost, doubled, torn, or answered otherwise.
    """
    moments = random.Random(seed)
    source = write_texts(folder / "texts.jsonl", rows)
    quiet = folder / "quiet.jsonl"
    began = time.monotonic()
    start(source, quiet, api_base).wait()
    seconds = time.monotonic() - began
    expected = quiet.read_bytes()
    assert len(expected.splitlines()) == rows
    found = Kills()
    while found.kills < kills:
        output = folder / f"run{found.runs}.jsonl"
        found.runs += 1
        while not output.exists():
            began = time.monotonic()
            process = start(source, output, api_base)
            try:
                # Most moments are in the work itself, some before it and some after.
                process.wait(moments.uniform(0.3, 1.1) * seconds if found.kills < kills else None)
                assert process.returncode == 0
                # Machines are not always as busy as they were.
                seconds = (seconds + time.monotonic() - began) / 2
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                found.kills += 1
        answers = output.read_bytes()
        ids = [json.loads(line)["id"] for line in answers.splitlines()]
        assert len(ids) == len(set(ids)) == rows
        assert answers.endswith(b"\n")
        assert same_answers(answers, expected)
        start(source, output, api_base).wait()  # and once more: nothing is to do
        assert output.read_bytes() == answers
    return found


def kill_once_it_has_answers(call: Sequence[str], answers: Path) -> None:
    """Runs `irr CALL`, and kills it when the file of a model's answers has one.

    Raises:
        AssertionError: If the call ends before that, or has none in four minutes.
    """
    process = subprocess.Popen([sys.executable, "-m", "irr", *call], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (answers.exists() and answers.stat().st_size):
        assert process.poll() is None, "the call ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()


def same_answers(some: bytes, others: bytes) -> bool:
    """Whether rows are the same, but for the last digit of scores, which moves with how texts are grouped."""
    (rows, scores), (other_rows, other_scores) = map(_rows_and_scores, (some, others))
    return rows == other_rows and bool(np.allclose(scores, other_scores, rtol=0, atol=1e-5))


def _rows_and_scores(content: bytes) -> tuple[list[Any], list[float]]:
    rows = [json.loads(line) for line in content.splitlines()]
    return rows, [label.pop("score") for row in rows for label in row["labels"]]
