"""Calibration: from the scores of a ranking to probabilities, and from a decision to a cut-off."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from irr.calibrate.risk_control import Promises, cut_off
from irr.calibrate.scope import UNUSUAL, Scope
from irr.calibrate.selection import Cut, Decision
from irr.errors import UsageError

Floats = NDArray[np.float64]
# Of what a stored calibration means: since 2, a promise of precision is about the next texts.
VERSION: Final = 2


class Curve(BaseModel):
    """A logistic curve over the features of a ranked label.

    Attributes:
        center: Means of the features.
        scale: Their standard deviations; 1 for a feature that never varies.
        weights: Of the standardized features.
        intercept: Log-odds where all features are at their means.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    center: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def probabilities(self, features: Floats) -> Floats:
        """The probability of each label of a ranking to be right.

        Args:
            features: What `features.features` gives, shape (labels, features).

        Returns:
            Shape (labels,), in (0, 1).
        """
        standard = (features - np.array(self.center)) / np.array(self.scale)
        odds = standard @ np.array(self.weights) + self.intercept
        probabilities: Floats = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
        return probabilities


class Calibration(BaseModel):
    """What a program learned from texts with gold about how far its rankings can be trusted.

    Attributes:
        version: Of what it means.
        program: Digest of the rankings that it was fitted for.
        texts: How many texts with gold it was fitted on.
        error: Expected calibration error of the first ten labels of these texts, each by a curve that did not
            see it.
        missed: Right labels of a text that its ranking lacks, in the mean.
        typical: Right labels of a typical text's best set, and its returned and right labels together.
        curve: From the features of a label to its probability.
        scope: What tells unusual texts.
        precision: Each precision that can be promised, and the least probability that keeps it.
        recall: The same for recall.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[2] = VERSION
    program: str
    texts: int
    error: float
    missed: float
    typical: tuple[float, float]
    curve: Curve
    scope: Scope
    precision: Promises = ()
    recall: Promises = ()

    def cut(self, decision: Decision) -> Cut:
        """A decision in numbers.

        Raises:
            UsageError: If the texts with gold cannot support the promise; it says what they can.
        """
        unusual = UNUSUAL if decision.cuts and not decision.recall else 0.0
        scope = unusual if decision.scope is None else decision.scope
        probability = decision.min_probability or 0.0
        for name, promises in (("precision", self.precision), ("recall", self.recall)):
            if target := getattr(decision, name):
                probability = self._kept(name, target, promises)
        return Cut(
            probability=probability,
            best_f1=decision.best_f1,
            missed=self.missed,
            typical=self.typical,
            scope=scope,
        )

    def _kept(self, name: str, target: float, promises: Promises) -> float:
        found = cut_off(promises, target)
        if found is None:
            most = f"at most {promises[-1][0]:.2f}" if promises else "none"
            problem = f"{self.texts} texts with gold cannot promise a {name} of {target:g}, {most}"
            raise UsageError(problem, "ask for less, or calibrate on more texts, or improve the program")
        return found
