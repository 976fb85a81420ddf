"""What tests share: a small label space, JSONL files, and the command as a user types it."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from irr.cli import main

KITCHEN: list[dict[str, Any]] = [
    {
        "id": "bake",
        "name": "bake bread",
        "aliases": ["make loaves"],
        "description": "Mix, knead and bake dough.",
    },
    {"id": "cook", "name": "cook meals, for groups", "description": "Prepare hot food for many guests."},
    {"id": "wash", "name": 'wash "dirty" dishes', "aliases": ["clean plates and cutlery"]},
    {"id": "cpp", "name": "C++"},
    {"id": "buy", "name": "order supplies", "aliases": ["purchase ingredients", "procurement"]},
    {"id": "zh", "name": "包饺子 (dumplings)"},
    {"id": "plan", "name": "plan menus", "parents": ["cook"], "prior": 0.5},
    {"id": "staff", "name": "supervise kitchen staff"},
]


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


Irr = Callable[..., "subprocess.CompletedProcess[str]"]


def run_here(arguments: Sequence[str], stdin: str | bytes = b"") -> subprocess.CompletedProcess[str]:
    """Runs `irr ARGUMENTS` in this process, with streams of its own, which are real files."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    with ExitStack() as stack:
        streams = {
            name: stack.enter_context(tempfile.TemporaryFile()) for name in ("stdin", "stdout", "stderr")
        }
        streams["stdin"].write(given)
        streams["stdin"].seek(0)
        for name, file in streams.items():
            text = stack.enter_context(
                open(file.fileno(), "r" if name == "stdin" else "w", encoding="utf-8", closefd=False)
            )
            stack.enter_context(patch.object(sys, name, text))
        stack.enter_context(patch.object(sys, "argv", ["irr", *arguments]))
        stack.enter_context(_handlers_restored())
        try:
            main()
            code: Any = 0
        except SystemExit as e:
            code = e.code
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = (_content(streams[name]) for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(["irr", *arguments], int(code or 0), out, err)


@contextmanager
def _handlers_restored() -> Iterator[None]:
    """Lets the command set up logging and signals as in a new process, and puts back what was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for number, handler in signals.items():
            signal.signal(number, handler)


def _content(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode("utf-8"))


def run_process(arguments: Sequence[str], stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `irr ARGUMENTS` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "irr", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ,
        timeout=300,
    )
