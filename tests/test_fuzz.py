"""A fixed part of `make fuzz`: no input breaks a promise of SECURITY.md, and the guard sees what would."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest

from eval.fuzz.guard import Guard
from eval.fuzz.run import plan, run_cases
from eval.fuzz.targets import TARGETS

ROOT = Path(__file__).parent.parent
CASES = 60


def test_no_input_breaks_a_promise() -> None:
    jobs = plan(CASES)
    assert {target for target, _ in jobs} == set(TARGETS)
    assert run_cases(jobs, seed=0) == []


def test_the_guard_sees_what_it_is_to_see(tmp_path: Path) -> None:
    out, secret, elsewhere = tmp_path / "out", tmp_path / "secret", tmp_path / "elsewhere"
    out.mkdir()
    for path in (secret, elsewhere):
        path.write_text("x")
    with Guard().watch([out], secret, port=1) as found:
        (out / "new").write_text("x")
        (out / "new").rename(out / "newer")
        (out / "newer").unlink()
        elsewhere.read_text()
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", 1), 1):
            pass
    assert found == [], "what is allowed"
    with Guard().watch([out], secret, port=None) as found:
        secret.read_text()
        elsewhere.write_text("y")
        elsewhere.rename(out / "taken")
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", 1), 1):
            pass
        subprocess.run(["true"], check=True)
    said = " ".join(found)
    for part in ("reads a file", f"open {elsewhere}", f"os.rename {elsewhere}", "connects to", "starts true"):
        assert part in said


def test_every_promise_names_a_test_that_is_there() -> None:
    named = re.findall(r"`(tests/\S+?)::(\w+)`", (ROOT / "SECURITY.md").read_text("utf-8"))
    assert len(named) > 15
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text("utf-8"), f"{file}::{test}"
