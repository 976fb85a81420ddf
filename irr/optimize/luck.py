"""Tells a gain from luck."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A smaller gain can come from two or three texts, and did not carry over from one set to another.
_STANDARD_ERRORS = 2.0


def gain_beyond_luck(difference: NDArray[np.float64]) -> float:
    """The mean of paired differences, shape (texts,), less two standard errors."""
    error = float(difference.std(ddof=1)) / np.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return float(difference.mean()) - _STANDARD_ERRORS * float(error)
