"""Scope: how usual a text is among the texts that a program was calibrated on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from irr.types import Candidate

Floats = NDArray[np.float64]
_PEAK = 50


def profile(candidates: Sequence[Candidate]) -> Floats:
    """What tells a text that the label space has something for from one that it has nothing for.

    Args:
        candidates: Of the text, best first.

    Returns:
        Shape (4,): the best score, its distance to the mean of the first fifty, the highest similarity to an
        example, and the highest share of a name's words that a passage holds. All are higher within scope.
    """
    if not candidates:
        return np.zeros(4)
    scores = np.array([candidate.score for candidate in candidates[:_PEAK]])
    example = max(candidate.example for candidate in candidates)
    recall = max(candidate.name_recall for candidate in candidates[:10])
    return np.array([scores[0], scores[0] - scores.mean(), example, recall])


class Scope(BaseModel):
    """The profiles of the calibration texts, as one number each: the mean of their standardized parts.

    Attributes:
        center: Means of the parts of a profile.
        scale: Their standard deviations.
        values: The number of each calibration text, ascending.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    center: tuple[float, ...]
    scale: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def fit(cls, profiles: Floats) -> Scope:
        """Takes the profiles of the calibration texts, shape (texts, parts)."""
        center, scale = profiles.mean(axis=0), profiles.std(axis=0)
        scale = np.where(scale < 1e-9, 1e300, scale)
        values = np.sort(((profiles - center) / scale).mean(axis=1))
        return cls(center=tuple(center), scale=tuple(scale), values=tuple(values))

    def share_below(self, profiles: Floats) -> Floats:
        """The conformal p-value of each text: the share of calibration texts that are no more usual than it.

        A text that is drawn like the calibration texts has a value of at most a with a probability of at most a
        (Vovk et al. 2005).

        Args:
            profiles: Shape (texts, parts).

        Returns:
            Shape (texts,), in (0, 1].
        """
        values = ((profiles - np.array(self.center)) / np.array(self.scale)).mean(axis=1)
        return (1 + np.searchsorted(self.values, values, side="right")) / (1 + len(self.values))
