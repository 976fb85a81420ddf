"""What benchmark runs came to: one JSON line each, appended to eval/results/runs.jsonl."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from eval.record import RESULTS, command, machine
from irr import __version__
from irr.errors import InputError
from irr.evaluate.evaluate import RankingScores
from irr.io.streams import read_lines

RUNS = RESULTS / "runs.jsonl"
# Of every bootstrap; nothing else is drawn at random.
SEED = 0


class Run(BaseModel):
    """One system on one set of texts.

    Attributes:
        session: When the command was started; the runs of one command share it, and can be compared in speed.
        task: The task's name.
        split: Which of its texts.
        limit: How many of them at most; None for all.
        system: What was run, by a name that tables know.
        program: SHA-256 over all that its answers depend on.
        data: SHA-256 over labels and texts.
        scores: What `irr eval --json` writes, without the single texts.
        settings: The numbers it ran with.
        seed: Of the intervals.
        version: Of irr.
        machine: Cores, Python, packages.
        command: The command.
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
    seed: int
    version: str
    machine: dict[str, Any]
    command: str

    @property
    def seconds_a_text(self) -> float:
        """What a text took."""
        return float(self.scores["seconds"]) / int(self.scores["texts"])


def new_session() -> str:
    """Now, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def run_of(
    report: RankingScores,
    *,
    session: str,
    task: str,
    split: str,
    limit: int | None,
    system: str,
    data: str,
    settings: dict[str, Any],
) -> Run:
    """A report with what is to be known of it."""
    return Run(
        session=session,
        task=task,
        split=split,
        limit=limit,
        system=system,
        program=report.program,
        data=data,
        scores=report.as_json(per_text=False),
        settings=settings,
        seed=SEED,
        version=__version__,
        machine=machine(),
        command=command(),
    )


def append(runs: Iterable[Run], path: Path = RUNS) -> None:
    """Adds runs to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(run.model_dump_json() + "\n" for run in runs)


def read_runs(path: Path = RUNS) -> list[Run]:
    """Reads all runs, oldest first; none if there is no file.

    Raises:
        InputError: For a line that is no run.
    """
    runs = []
    for row, line in read_lines(path, InputError) if path.exists() else ():
        try:
            runs.append(Run.model_validate_json(line))
        except ValidationError as e:
            raise InputError(path, "no run", "take the line out", row) from e
    return runs


def latest(runs: Iterable[Run], split: str = "test") -> dict[tuple[str, str], Run]:
    """The last run over all texts of each task and system."""
    return {(run.task, run.system): run for run in runs if run.split == split and run.limit is None}
