"""Scope: how usual a text is among the texts that a program was calibrated on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from irr.statistics import Floats, standardization

# A text as unusual as this share of the calibration texts is taken to be out of scope.
UNUSUAL = 0.05
# Texts are not like the calibration texts if chance explains them less probably than this, and at least this
# share of them is as unusual as a twentieth of those: of many texts every small difference is no chance.
SHIFTED, MANY = 0.001, 0.25
# Bins of equal width that p-values are counted in.
BINS = 20


class Scope(BaseModel):
    """The profiles of the calibration texts, as one number each: the mean of their standardized parts.

    Attributes:
        center: Means of the parts of a profile.
        scale: Their standard deviations; 1 for a part that never varies.
        values: The number of each calibration text, ascending.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    center: tuple[float, ...]
    scale: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def fit(cls, profiles: Floats) -> Scope:
        """Takes the profiles of the calibration texts, shape (texts, parts)."""
        center, scale = standardization(profiles)
        values = np.sort(_usual(profiles, center, scale))
        return cls(center=tuple(center), scale=tuple(scale), values=tuple(values))

    def p_value(self, profile: Floats) -> float:
        """The share of calibration texts that are no more usual than this text, itself counted as one.

        This is the conformal p-value: a text that is drawn like the calibration texts has one of at most a
        with a probability of at most a (Vovk et al. 2005, Algorithmic Learning in a Random World).

        Args:
            profile: Shape (parts,).

        Returns:
            In (0, 1].
        """
        value = _usual(profile[None], np.array(self.center), np.array(self.scale))[0]
        return float(1 + np.searchsorted(self.values, value, side="right")) / (1 + len(self.values))


def _usual(profiles: Floats, center: Floats, scale: Floats) -> Floats:
    usual: Floats = ((profiles - center) / scale).mean(axis=1)
    return usual


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
    (Smirnov 1939). Bins make it conservative.

    Args:
        counts: Of p-values, by bin.
        calibrated: How many texts the program was calibrated on.
    """
    texts = sum(counts)
    if not texts:
        return 1.0
    uniform = np.arange(1, len(counts) + 1) / len(counts)
    excess = max(0.0, float((np.cumsum(counts) / texts - uniform).max()))
    return float(np.exp(-2 * texts * calibrated / (texts + calibrated) * excess**2))
