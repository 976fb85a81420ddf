"""Vectors of places in a text, from the states that the encoder has for the text's tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import Places

# The share of the text's mean state that a place's vector loses: what all its places have in common. On the
# dev sets, vectors of spans correlate with those of the spans alone by 0.72, 0.78 and 0.70 for 0, 0.5 and 1.
_SHARED = np.float32(0.5)


def in_context(
    states: NDArray[np.float32], offsets: NDArray[np.int64], places: Places
) -> NDArray[np.float32]:
    """Unit vectors of places: the mean state of their tokens less half of the mean state of all tokens.

    Args:
        states: The last states of a text's tokens, shape (tokens, dimensions).
        offsets: The start and end of each token in the text, shape (tokens, 2); equal for special tokens.
        places: The start and end of each place.

    Returns:
        Shape (places, dimensions); 0 for a place without tokens.
    """
    read = offsets[:, 1] > offsets[:, 0]
    starts, ends = offsets[read].T
    sums = np.zeros((len(starts) + 1, states.shape[1]), np.float32)
    np.cumsum(states[read], axis=0, out=sums[1:])
    wanted = np.array(places, np.int64).reshape(-1, 2)
    first = np.searchsorted(ends, wanted[:, 0], side="right")
    last = np.searchsorted(starts, wanted[:, 1], side="left")
    count = np.maximum(last - first, 0)[:, None].astype(np.float32)
    shared = _SHARED * states.mean(axis=0)
    vectors: NDArray[np.float32] = (sums[last] - sums[first]) / np.maximum(count, 1) - shared
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    vectors[count[:, 0] == 0] = 0
    return vectors
