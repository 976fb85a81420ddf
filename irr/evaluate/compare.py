"""Compares evaluations text by text with earlier ones, which `irr eval --json` wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from irr.config import Share
from irr.errors import InputError
from irr.io.streams import read_lines
from irr.io.texts import GoldRow
from irr.io.validation import explain
from irr.statistics import Difference, paired_bootstrap


class PerText(BaseModel):
    """The scores of each text with gold by metric, in file order; the digest is that of the texts."""

    model_config = ConfigDict(frozen=True)

    ids: tuple[str | int, ...]
    digest: str
    scores: dict[str, tuple[Share, ...]]

    @model_validator(mode="after")
    def _one_score_a_text(self) -> PerText:
        if any(len(column) != len(self.ids) for column in self.scores.values()):
            raise ValueError("not one score a text")
        return self


class Baseline(BaseModel):
    """An earlier evaluation.

    Attributes:
        name: Its name; if it has none, the file's name without its ending.
        program: The digest of its program.
        curve: Its mean RP@k for k = 1, 2, ...
        per_text: The scores of its texts.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str | None = None
    program: str
    curve: Annotated[tuple[Share, ...], Field(min_length=1)]
    per_text: PerText


class Comparison(NamedTuple):
    """A baseline, its means by metric, and how much better another evaluation is, by metric."""

    baseline: Baseline
    means: dict[str, float]
    differences: dict[str, Difference]

    def as_json(self) -> dict[str, Any]:
        """The baseline, and the differences by metric with their intervals and p-values."""
        metrics = {
            name: {
                "difference": round(d.mean, 6),
                "ci95": [round(d.low, 6), round(d.high, 6)],
                "p": round(d.p, 6),
            }
            for name, d in self.differences.items()
        }
        return {"name": self.baseline.name, "program": self.baseline.program, "metrics": metrics}


def read_baseline(path: Path, rows: Sequence[GoldRow]) -> Baseline:
    """Reads an earlier evaluation and checks that it has these texts.

    Raises:
        InputError: If the file holds no such evaluation, or its texts or gold are others.
    """
    content = "".join(line for _, line in read_lines(path, InputError))
    hint = "name a file that this version of irr eval --json has written"
    try:
        baseline = Baseline.model_validate_json(content)
    except ValidationError as e:
        problem, _ = explain(e)
        raise InputError(path, f"is not what irr eval writes ({problem})", hint) from e
    if "rp@10" not in baseline.per_text.scores:
        raise InputError(path, 'is not what irr eval writes (no "rp@10")', hint)
    if baseline.per_text.digest != texts_digest(rows):
        here, there = {row.id for row in rows if row.labels}, set(baseline.per_text.ids)
        difference = f"{len(there - here):,} are only there, {len(here - there):,} only here"
        if here == there:
            difference = "the ids are the same, but texts or gold have changed"
        raise InputError(
            path, f"was measured on other texts ({difference})", "compare on the same file of gold"
        )
    return baseline.model_copy(update={"name": baseline.name or path.stem})


def compare(run: PerText, baseline: Baseline) -> Comparison:
    """Compares a run with a baseline on the same texts, metric by metric, text by text."""
    # Rounded as the file is, so that equal scores are equal.
    ours = {name: [round(v, 6) for v in row] for name, row in run.scores.items()}
    theirs = baseline.per_text.scores
    shared = [name for name in ours if name in theirs]
    return Comparison(
        baseline=baseline,
        means={name: sum(theirs[name]) / len(theirs[name]) for name in shared},
        differences={name: paired_bootstrap(ours[name], theirs[name]) for name in shared},
    )


def texts_digest(rows: Sequence[GoldRow]) -> str:
    """SHA-256 over the ids, contents and gold of the texts that have gold; other keys count for nothing."""
    parts = [[row.id, row.text, sorted(set(row.labels))] for row in rows if row.labels]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
