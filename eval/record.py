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


def record(name: str, figures: dict[str, Any]) -> None:
    """Writes `eval/results/NAME.json` and says so on stderr."""
    module = Path(sys.argv[0]).stem
    result = {
        "command": shlex.join(["python", "-m", f"eval.{module}", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "python": platform.python_version(),
            "packages": {package: version(package) for package in PACKAGES},
        },
        "figures": figures,
    }
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
    sys.stderr.write(f"recorded in {path}\n")
