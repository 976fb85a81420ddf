"""Identifies a run of the batch job: two calls with one identity continue each other."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from irr.calibrate.decision import BEST, Decision
from irr.config import Settings


class Identity(BaseModel):
    """Everything besides the input that a run's answers depend on.

    Attributes:
        labels: The label space's fingerprint.
        encoder: The encoder's name.
        settings: The program's settings.
        top_k: How many labels a text gets, at most; None leaves it to the decision.
        decision: Which labels a text gets.
        costs: Whether rows carry their costs.
        program: The program's digest: labels, encoder, settings, models and prompts.
        retry: Whether the run answers the failed rows of a finished output again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: str
    encoder: str
    settings: Settings
    top_k: int | None
    decision: Decision = BEST
    costs: bool
    program: str
    retry: bool = False

    def difference(self, other: Identity) -> str:
        """The first difference to another run, in words; "" if there is none."""
        if self.labels != other.labels:
            return "other labels"
        for name in ("encoder", "top_k", "costs"):
            then, now = getattr(self, name), getattr(other, name)
            if then != now:
                return f"--{name.replace('_', '-')} was {then}, is {now}"
        if self.decision != other.decision:
            return "labels chosen in another way"
        for name, (then, now) in self.settings.difference(other.settings).items():
            return f"the setting {name} was {then}, is {now}"
        if self.program != other.program:
            return "another language model, task or calibration"
        return "" if self.retry == other.retry else "one of the two is with --retry-errors"
