"""How calls end: impossible outputs, closed streams, interrupts, pipes, hostile names, defects."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from irr.cli import exits
from tests.support import Irr, write_jsonl

HOSTILE = "\x1b[2Jevil\u202ename\x07"
IRR = [sys.executable, "-m", "irr"]


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "gold.jsonl", [{"id": "1", "text": "bake bread", "labels": ["bake"]}])


def one_line(result: subprocess.CompletedProcess[str], *says: str) -> None:
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for said in says:
        assert said in result.stderr


@pytest.mark.parametrize(
    ("name", "said"), [("", "an empty name"), (".", "is a folder"), ("..", "is a folder")]
)
def test_an_output_that_is_no_file_is_refused_before_any_work(
    irr: Irr, tmp_path: Path, gold: Path, name: str, said: str
) -> None:
    missing = tmp_path / "is not even looked for.jsonl"
    one_line(irr("classify", "--labels", missing, "--input", gold, "--output", name), said)
    answers = tmp_path / "out.jsonl"
    one_line(
        irr("classify", "--labels", missing, "--input", gold, "--output", answers, "--summary", name), said
    )
    for option in ("--json", "--report"):
        one_line(irr("eval", "--labels", missing, "--gold", gold, option, name), said)
    for option in ("--json", "--output"):
        one_line(irr("labels", missing, option, name), said)


def test_an_output_of_no_name_for_a_program(irr: Irr, tmp_path: Path, gold: Path) -> None:
    missing = tmp_path / "is not even looked for.jsonl"
    one_line(irr("optimize", "--labels", missing, "--train", gold, "--output", ""), "an empty name")


def test_another_top_k_offers_the_command(irr: Irr, labels_file: Path, gold: Path, tmp_path: Path) -> None:
    output = tmp_path / "my out.jsonl"
    call = ("classify", "--labels", labels_file, "--input", gold, "--output", output, "--top-k")
    assert irr(*call, 2).returncode == 0
    refused = irr(*call, 3)
    one_line(refused, "--top-k was 2, is 3")
    command = refused.stderr.strip().partition("replace it with: ")[2]
    assert shlex.split(command) == ["irr", *map(str, call), "3", "--restart"]
    assert irr(*shlex.split(command)[1:]).returncode == 0
    assert len(json.loads(output.read_text())["labels"]) == 3


def test_nothing_but_printable_text_reaches_a_terminal(irr: Irr, tmp_path: Path) -> None:
    rows = [{"id": HOSTILE, "name": f"{HOSTILE} bread", "aliases": [HOSTILE]}, {"id": "b", "name": HOSTILE}]
    labels = write_jsonl(tmp_path / "labels.jsonl", rows)
    gold = write_jsonl(tmp_path / "gold.jsonl", [{"id": HOSTILE, "text": HOSTILE, "labels": [HOSTILE]}])
    wrong = write_jsonl(tmp_path / "wrong.jsonl", [{"id": "1", "text": "x", "labels": [f"{HOSTILE}!"]}])
    for call in (
        ("inspect", "--labels", labels, "--text", f"bread {HOSTILE}"),
        ("labels", labels),
        ("eval", "--labels", labels, "--gold", gold, "--name", HOSTILE),
        ("eval", "--labels", labels, "--gold", wrong),
        ("inspect", "--labels", labels, "--text", "x", "--task", HOSTILE),
        (HOSTILE,),
        ("inspect", f"--{HOSTILE}"),
    ):
        result = irr(*call)
        shown = result.stdout + result.stderr
        assert "\\x1b[2J" in shown or "evil" not in shown, call
        assert not [c for c in shown if not c.isprintable() and c != "\n"], call


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 2, "memory ran out"),
        (RecursionError("maximum recursion depth exceeded"), 2, "a defect in irr (RecursionError"),
        (KeyError("x"), 2, "a defect in irr (KeyError"),
        (OSError(28, "No space left on device", "there"), 2, "there cannot be read or written: No space"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_failure_is_one_line_at_most(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    def call() -> int:
        raise error

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert exits.run(call) == code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    shown = capfd.readouterr().err
    assert said in shown
    assert "Traceback" not in shown
    assert len(shown.splitlines()) == bool(said)


def test_the_details_of_a_defect_are_there_for_the_asking(labels_file: Path) -> None:
    code = "from irr.cli import exits; print(exits.run(lambda: 1 / 0))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "IRR_DEBUG": "1"}
    )
    assert "Traceback" in told.stderr and "ZeroDivisionError" in told.stderr
    assert told.stdout == "2\n"


@pytest.mark.parametrize(
    ("redirection", "said"), [("<&-", "stdin: is closed"), (">&-", "stdout: is closed"), ("2>&- <&-", "")]
)
def test_a_closed_stream_is_one_line(labels_file: Path, redirection: str, said: str) -> None:
    call = shlex.join([*IRR, "classify", "--labels", str(labels_file), "--input", "-", "--output", "-"])
    result = subprocess.run(
        ["sh", "-c", f"{call} {redirection}"], capture_output=True, text=True, timeout=200, input=""
    )
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.splitlines()) == bool(said), result.stderr
    assert said in result.stderr


def test_a_reader_that_goes_away_ends_the_call_in_silence(labels_file: Path, tmp_path: Path) -> None:
    many = write_jsonl(
        tmp_path / "many.jsonl", ({"id": str(n), "name": f"name {n} {'x' * 200}"} for n in range(5_000))
    )
    call = shlex.join([*IRR, "labels", str(many), "--output", "-"])
    result = subprocess.run(
        ["bash", "-c", f'{call} | head -1; echo "${{PIPESTATUS[0]}}"'],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert result.stdout.splitlines()[-1] == "141", result.stdout[-300:]
    assert result.stderr == ""


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.5])
def test_an_interrupt_at_the_start_ends_the_call_in_silence(tmp_path: Path, seconds: float) -> None:
    rows = ({"id": str(n), "name": f"a name of its own {n}"} for n in range(20_000))  # seconds of encoding
    process = subprocess.Popen(
        [*IRR, "inspect", "--labels", str(write_jsonl(tmp_path / "many.jsonl", rows)), "--text", "x"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=100)
    assert process.returncode in (130, -signal.SIGINT)
    assert stderr == b""
