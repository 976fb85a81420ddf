"""A fixed part of `make fuzz`: no input breaks a promise of SECURITY.md, and the guard sees what would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_no_input_breaks_a_promise() -> None:
    command = [sys.executable, "-m", "eval.fuzz", "--cases", "60", "--seed", "0", "--processes", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the guard sees what it is to see" in done.stdout
    assert "60 cases, seed 0: 0 broke a promise" in done.stdout


def test_every_promise_names_a_test_that_is_there() -> None:
    named = re.findall(r"`(tests/\S+?)::(\w+)`", (ROOT / "SECURITY.md").read_text("utf-8"))
    assert len(named) > 15
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text("utf-8"), f"{file}::{test}"
