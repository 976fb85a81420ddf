"""Compares a run with an earlier one on the same texts, from what `irr eval --json` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from irr.errors import InputError
from irr.evaluate.evaluate import Evaluation, PerText, texts_digest
from irr.evaluate.metrics import Difference, paired_bootstrap
from irr.io.files import read_lines
from irr.io.texts import GoldRow


class Run(BaseModel):
    """An earlier run.

    Attributes:
        name: The file's name, without its ending.
        program: The digest of its program.
        curve: Its mean RP@k for k = 1, 2, ...
        per_text: What each text scored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    program: str
    curve: tuple[float, ...]
    per_text: PerText


class Comparison(BaseModel):
    """A run beside an earlier one.

    Attributes:
        run: The earlier run.
        means: What the earlier run scored, by metric.
        differences: How much better this one is, by metric.
    """

    model_config = ConfigDict(frozen=True)

    run: Run
    means: dict[str, float]
    differences: dict[str, Difference]

    def as_json(self) -> dict[str, object]:
        """The differences by name, with their intervals and p-values."""
        return {
            name: {
                "difference": round(d.mean, 6),
                "ci95": [round(d.low, 6), round(d.high, 6)],
                "p": round(d.p, 6),
            }
            for name, d in self.differences.items()
        }


def read_run(path: Path, rows: Sequence[GoldRow]) -> Run:
    """Reads an earlier run and checks that it saw these texts.

    Raises:
        InputError: If the file is no such run, or its texts or gold are others.
    """
    content = "".join(line for _, line in read_lines(path, InputError))
    try:
        run = Run.model_validate_json(content).model_copy(update={"name": path.stem})
    except ValidationError as e:
        if e.errors()[0]["type"] == "missing":
            problem = f'has no "{".".join(str(part) for part in e.errors()[0]["loc"])}"'
        else:
            problem = "is not what irr eval writes"
        hint = "name a file that this version of irr eval --json has written"
        raise InputError(path, problem, hint) from e
    if run.per_text.digest != texts_digest(rows):
        here, there = {row.id for row in rows if row.labels}, set(run.per_text.ids)
        if here == there:
            problem = "was measured on other texts (the ids are the same, but texts or gold have changed)"
        else:
            problem = (
                f"was measured on other texts ({len(there - here):,} are only there, "
                f"{len(here - there):,} only here)"
            )
        raise InputError(path, problem, "compare runs on the same --gold file")
    return run


def compare(report: Evaluation, run: Run) -> Comparison:
    """Compares metric by metric, text by text."""
    ours, theirs = report.per_text.scores, run.per_text.scores
    shared = [name for name in ours if name in theirs]
    return Comparison(
        run=run,
        means={name: sum(theirs[name]) / len(theirs[name]) for name in shared},
        differences={name: paired_bootstrap(ours[name], theirs[name]) for name in shared},
    )
