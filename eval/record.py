"""What all benchmarks share: their options, alternating rounds, and the record of what was measured."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from irr import __version__
from irr.errors import InputError
from irr.io.streams import read_lines

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
RUNS = RESULTS / "runs.jsonl"
PACKAGES = ("chromadb", "dspy", "numpy", "sentence-transformers", "torch", "transformers")
ROUNDS = 3


class Run(BaseModel):
    """One system on one set of texts: a line of `eval/results/runs.jsonl`.

    Attributes:
        session: When the command was started; the runs of one command share it, and can be compared in speed.
        split: Which of the task's texts; the first `limit` of them, if that is given.
        system: What was run, by a name that tables know.
        program: SHA-256 over all that its answers depend on; data: over labels and texts.
        scores: What `irr eval --json` writes, without the single texts.
        seed: Of the intervals; nothing else is drawn at random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    session: str
    task: str
    split: str
    limit: int | None
    system: str
    program: str
    data: str
    scores: dict[str, Any]
    settings: dict[str, Any]
    seed: int = 0
    version: str = __version__
    machine: dict[str, Any]
    command: str

    @property
    def seconds_a_text(self) -> float:
        """What a text took."""
        return float(self.scores["seconds"]) / int(self.scores["texts"])


def append(runs: Iterable[Run], path: Path) -> None:
    """Adds runs to a file."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(run.model_dump_json() + "\n" for run in runs)


def read_runs(path: Path = RUNS) -> list[Run]:
    """Reads all runs, oldest first; none if there is no file.

    Raises:
        InputError: If a line is not a run.
    """
    runs = []
    for row, line in read_lines(path, InputError) if path.exists() else ():
        try:
            runs.append(Run.model_validate_json(line))
        except ValidationError as e:
            raise InputError(path, "not a run", "take the line out", row) from e
    return runs


def options(description: str | None) -> argparse.ArgumentParser:
    """The options of a benchmark, with `--name`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", help="record the result under this name")
    return parser


def finish(figures: Mapping[str, Any], name: str | None, show: bool = True) -> None:
    """Prints figures, and records them in `eval/results/NAME.json` with command, versions and machine."""
    if show:
        print(json.dumps(figures, indent=2, ensure_ascii=False))
    if name:
        result = {
            "command": command(),
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "figures": figures,
        }
        path = RESULTS / f"{name}.json"
        path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
        sys.stderr.write(f"recorded in {path}\n")


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


def machine() -> dict[str, Any]:
    """What the figures depend on besides the program."""
    return {
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
    }


def peak_gib() -> float:
    """The most memory that this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def alternate(rivals: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each rival over rounds in which they take turns, because machines drift."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(column) for name, column in seconds.items()}
