"""Keeps what a benchmark measured: the figures, the command that made them, and the machine."""

from __future__ import annotations

import json
import os
import platform
import resource
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("chromadb", "dspy", "numpy", "sentence-transformers", "torch", "transformers")


def command() -> str:
    """The command that is running, as it would be typed; a folder outside of this repository is DIR."""
    path = Path(sys.argv[0]).resolve().with_suffix("")
    parts = path.relative_to(ROOT).parts if path.is_relative_to(ROOT) else ("eval", path.name)
    module = ".".join(part for part in parts if part != "__main__")
    return shlex.join(["python", "-m", module, *map(_anywhere, sys.argv[1:])])


def _anywhere(argument: str) -> str:
    """An argument without the folders of this machine: of a path outside, DIR, or DIR/SET/FILE."""
    option, equals, value = argument.rpartition("=")
    path = Path(value)
    if not (path.is_absolute() or value.startswith("..")) or path.resolve().is_relative_to(ROOT):
        return argument
    return f"{option}{equals}DIR" + (f"/{path.parent.name}/{path.name}" if path.is_file() else "")


def peak_gib() -> float:
    """The most memory that this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def machine() -> dict[str, Any]:
    """What the figures depend on besides the program."""
    return {
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
    }


def record(name: str, figures: dict[str, Any]) -> None:
    """Writes `eval/results/NAME.json` and says so on stderr."""
    result = {
        "command": command(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "figures": figures,
    }
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
    sys.stderr.write(f"recorded in {path}\n")
