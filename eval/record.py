"""Keeps what a benchmark measured: the figures, the command that made them, and the machine."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("chromadb", "dspy", "numpy", "sentence-transformers", "torch", "transformers")


def command() -> str:
    """The command that is running, as it would be typed."""
    path = Path(sys.argv[0])
    module = path.parent.name if path.stem == "__main__" else f"eval.{path.stem}"
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


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
