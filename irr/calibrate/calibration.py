"""Calibration: from the features of a ranking to probabilities, and from a decision to its thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from irr.calibrate.decision import Decision, Thresholds
from irr.calibrate.risk_control import Promises, cut_off
from irr.calibrate.scope import UNUSUAL, Scope
from irr.errors import UsageError
from irr.statistics import Floats, LogisticCurve
from irr.types import Candidate, RankedLabel

# Labels of a ranking that calibration learns from: deeper ones are all but never right.
DEPTH = 50
# The version of stored calibrations.
VERSION: Final = 1


class Calibration(BaseModel):
    """What a program learned from texts with gold about how far its rankings can be trusted.

    Attributes:
        version: The version of its format.
        program: Digest of the rankings that it was fitted for.
        texts: How many texts with gold it was fitted on.
        error: Expected calibration error of the first ten labels of these texts, each by a curve that did not
            see it.
        missed: Right labels that a ranking lacks, per text in the mean.
        typical: Expected right labels, and returned and right labels together, of an average text; smooths
            the F1 estimate of a single text.
        curve: From the features of a label to its probability.
        scope: What tells unusual texts.
        precision: Each precision that can be promised, and the least probability that keeps it.
        recall: The same for recall.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = VERSION
    program: str
    texts: int
    error: float
    missed: float
    typical: tuple[float, float]
    curve: LogisticCurve
    scope: Scope
    precision: Promises = ()
    recall: Promises = ()

    def thresholds(self, decision: Decision) -> Thresholds:
        """A decision resolved to numeric thresholds.

        Raises:
            UsageError: If the texts with gold cannot support the promise; it says what they can.
        """
        unusual = UNUSUAL if decision.cuts and not decision.recall else 0.0
        probability = decision.min_probability or 0.0
        for name, promises in (("precision", self.precision), ("recall", self.recall)):
            if target := getattr(decision, name):
                probability = self._cut_off(name, target, promises)
        return Thresholds(
            probability=probability,
            best_f1=decision.best_f1,
            missed=self.missed,
            typical=self.typical,
            scope=unusual if decision.scope is None else decision.scope,
        )

    def _cut_off(self, name: str, target: float, promises: Promises) -> float:
        found = cut_off(promises, target)
        if found is None:
            most = f"at most {promises[-1][0]:.2f}" if promises else "none"
            problem = f"{self.texts} texts with gold cannot promise a {name} of {target:g}, {most}"
            raise UsageError(problem, "ask for less, or calibrate on more texts, or improve the program")
        return found


def label_features(ranking: Sequence[RankedLabel], candidates: Sequence[Candidate]) -> Floats:
    """The features of each label of a ranking.

    Args:
        ranking: A text's labels, best first.
        candidates: Its candidates, in any order.

    Returns:
        Shape (labels, 8): the score, its distance to the best other one, the logarithm of the rank, what
        the ranker added to the score of retrieval, name recall, word cosine, the text's similarity to its
        nearest example, and that to the label's nearest example.
    """
    found = {candidate.label.id: candidate for candidate in candidates}
    known = np.array(
        [
            (label.score, c.score, c.name_recall, c.word_cosine, c.example)
            for label in ranking
            for c in (found[label.id],)
        ]
    ).reshape(len(ranking), 5)
    scores = known[:, 0]
    rank = np.log1p(np.arange(len(scores)))
    lead = scores - scores[:1]
    lead[:1] = scores[:1] - scores[1:2] if len(scores) > 1 else 0.0
    nearest = np.full(len(scores), _nearest(candidates))
    added = scores - known[:, 1]
    return np.column_stack([scores, lead, rank, added, known[:, 2:4], nearest, known[:, 4]])


def text_profile(candidates: Sequence[Candidate]) -> Floats:
    """What tells a text within the scope of the label space from one outside it.

    Args:
        candidates: The candidates of the text, best first.

    Returns:
        Shape (4,): the best score, its distance to the mean of the first fifty, the similarity to the nearest
        example, and that to the nearest example of the best label. All are higher within scope.
    """
    if not candidates:
        return np.zeros(4)
    scores = np.array([candidate.score for candidate in candidates[:DEPTH]])
    return np.array([scores[0], scores[0] - scores.mean(), _nearest(candidates), candidates[0].example])


def _nearest(candidates: Sequence[Candidate]) -> float:
    """The similarity of the text to its nearest example."""
    return max((candidate.example for candidate in candidates), default=0.0)
