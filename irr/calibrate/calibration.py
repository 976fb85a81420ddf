"""Calibration: probabilities of ranked labels, thresholds of decisions, and how usual a text is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from irr.calibrate.decision import Decision, Thresholds
from irr.errors import UsageError
from irr.statistics import Floats, LogisticCurve, standardization
from irr.types import Candidate, RankedLabel

# Labels of a ranking that calibration learns from: deeper ones are all but never right.
DEPTH = 50
# The version of stored calibrations.
VERSION: Final = 1
# A text as unusual as this share of the calibration texts is taken to be out of scope.
UNUSUAL = 0.05
# Texts are not like the calibration texts if chance explains them less probably than this, and at least this
# share of them is as unusual as a twentieth of those: of many texts every small difference is no chance.
SHIFTED, MANY = 0.001, 0.25
# Bins of equal width that p-values are counted in.
BINS = 20

# Pairs of a promise and the cut-off that keeps it, promises ascending; others cannot be promised.
Promises = tuple[tuple[float, float], ...]


class Scope(BaseModel):
    """The profiles of the calibration texts, as one number each: the mean of their standardized parts.

    `center` and `scale` are the means and deviations of the parts, and `values` the numbers, ascending.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    center: tuple[float, ...]
    scale: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def fit(cls, profiles: Floats) -> Scope:
        """The scope of calibration texts with these profiles, shape (texts, parts)."""
        center, scale = standardization(profiles)
        values = np.sort(((profiles - center) / scale).mean(axis=1))
        return cls(center=tuple(center), scale=tuple(scale), values=tuple(values))

    def p_value(self, profile: Floats) -> float:
        """The share of calibration texts that are no more usual than this one, which counts, too; in (0, 1].

        This is the conformal p-value: a text that is drawn like the calibration texts has one of at most a
        with a probability of at most a (Vovk et al. 2005, Algorithmic Learning in a Random World).
        """
        value = ((profile - np.array(self.center)) / np.array(self.scale)).mean()
        return float(1 + np.searchsorted(self.values, value, side="right")) / (1 + len(self.values))


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
                found = cut_off(promises, target)
                if found is None:
                    most = f"at most {promises[-1][0]:.2f}" if promises else "none"
                    problem = f"{self.texts} texts with gold cannot promise a {name} of {target:g}, {most}"
                    hint = "ask for less, or calibrate on more texts, or improve the program"
                    raise UsageError(problem, hint)
                probability = found
        return Thresholds(
            probability=probability,
            best_f1=decision.best_f1,
            missed=self.missed,
            typical=self.typical,
            scope=unusual if decision.scope is None else decision.scope,
        )


def cut_off(promises: Promises, target: float) -> float | None:
    """The cut-off of the least promise that is no less than `target`; None if there is none."""
    return next((value for promise, value in promises if promise >= target - 1e-9), None)


def label_features(ranking: Sequence[RankedLabel], candidates: Sequence[Candidate]) -> Floats:
    """The features of each label of a ranking, shape (labels, 8).

    They are the score, its distance to the best other one, the logarithm of the rank, what the ranker added
    to the score of retrieval, name recall, word cosine, the text's similarity to its nearest example, and its
    similarity to the label's nearest example.
    """
    found = {candidate.label.id: candidate for candidate in candidates}
    parts = [(c.score, c.name_recall, c.word_cosine, c.example) for c in (found[one.id] for one in ranking)]
    known = np.array(parts).reshape(len(ranking), 4)
    scores = np.array([label.score for label in ranking])
    rank = np.log1p(np.arange(len(scores)))
    lead = scores - scores[:1]
    lead[:1] = scores[:1] - scores[1:2] if len(scores) > 1 else 0.0
    nearest = np.full(len(scores), _nearest(candidates))
    added = scores - known[:, 0]
    return np.column_stack([scores, lead, rank, added, known[:, 1:3], nearest, known[:, 3]])


def text_profile(candidates: Sequence[Candidate]) -> Floats:
    """What tells a text within the scope of the label space from one outside it, from its candidates.

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


def count(counts: Sequence[int], p_value: float) -> tuple[int, ...]:
    """Counts of p-values by bin, with one more; none are all 0."""
    counted = list(counts) or [0] * BINS
    # The first bin holds what is no more usual than a twentieth.
    counted[max(0, math.ceil(p_value * BINS - 1e-9) - 1)] += 1
    return tuple(counted)


def unusual(counts: Sequence[int]) -> float:
    """The share of texts that are as unusual as the most unusual twentieth of the calibration texts."""
    return counts[0] / sum(counts) if counts else 0.0


def is_shifted(counts: Sequence[int], calibrated: int) -> bool:
    """Whether texts are not like the calibration texts, of which there were `calibrated`."""
    return unusual(counts) >= MANY and shift(counts, calibrated) < SHIFTED


def shift(counts: Sequence[int], calibrated: int) -> float:
    """How probable it is that texts drawn like the calibration texts are as unusual as these, in [0, 1].

    The one-sided two-sample test of Kolmogorov and Smirnov on the p-values, which are uniform where both are
    drawn alike: exp(-2 · m · n / (m + n) · D²), D being the largest excess of the distribution function
    (Smirnov 1939). Bins make it conservative. `counts` are of p-values, by bin; the program was calibrated on
    `calibrated` texts.
    """
    texts = sum(counts)
    if not texts:
        return 1.0
    uniform = np.arange(1, len(counts) + 1) / len(counts)
    excess = max(0.0, float((np.cumsum(counts) / texts - uniform).max()))
    return float(np.exp(-2 * texts * calibrated / (texts + calibrated) * excess**2))
