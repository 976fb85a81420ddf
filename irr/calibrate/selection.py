"""Selection: how many labels of a ranking are returned, from their probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def best_f1_size(probability: Floats) -> int:
    """How many of the best labels to return for the highest expected F1; 0 if none is likelier right than not.

    F1 of the k best is approximated by the ratio of expectations, 2 · sum of the k best p / (k + sum of all p).
    With p that fall, it rises up to one size and falls from there on (Ye et al. 2012, arXiv 1206.4625).

    Args:
        probability: Of the labels of a text, falling, shape (labels,).
    """
    if not len(probability):
        return 0
    sizes = np.arange(1, len(probability) + 1)
    expected = 2 * np.cumsum(probability) / (sizes + probability.sum())
    return int(expected.argmax()) + 1
