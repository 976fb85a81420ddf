"""The interface of an encoder, which turns texts into unit vectors, and what encoders share."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
# Texts tokenized at a time; the token ids of a whole label space would take hundreds of megabytes.
_TOKENIZED_TEXTS = 2_048
# Tokens of a batch: some 300 spans or 8 full passages. Larger batches are no faster on a CPU.
_BATCH_TOKENS = 2_048
# The share of the text's mean state that is subtracted from a place's vector. On the dev sets, vectors of
# spans correlate with those of the spans alone by 0.72, 0.78 and 0.70 for 0, 0.5 and 1.
_SHARED = np.float32(0.5)

# The start and end of places in a text, in characters.
Places = Sequence[tuple[int, int]]


class ContextVectors(NamedTuple):
    """Unit vectors of texts and of places in them; 0 for a place beyond the tokens that the encoder reads."""

    vectors: NDArray[np.float32]  # as `encode` gives them, shape (texts, dimensions)
    places: list[NDArray[np.float32]]  # of each text, shape (places, dimensions)


class Encoder(Protocol):
    """Maps texts to vectors whose dot product is their similarity.

    An encoder may also have `encode_places(texts, places)`, which gives `ContextVectors`, and `revision`, a
    hash of its weights.
    """

    @property
    def name(self) -> str:
        """Identifies the encoder, and is part of the key of its indexes."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions), in the order of `texts`."""
        ...


def encode_places(encoder: Encoder, texts: Sequence[str], places: Sequence[Places]) -> ContextVectors | None:
    """The vectors of texts and of places in them; None if the encoder does not encode places."""
    method = getattr(encoder, "encode_places", None)
    return None if method is None else method(texts, places)


def encode_whole(encoder: Encoder, texts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """Returns a unit vector for each text, the mean of its passages' vectors, shape (texts, dimensions)."""
    vectors = encoder.encode([passage for passages in texts for passage in passages])
    ends = np.cumsum([len(passages) for passages in texts])[:-1]
    return np.array([unit_mean(group) for group in np.split(vectors, ends)], np.float32)


def unit_mean(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The direction of the mean of some vectors, shape (dimensions,)."""
    mean: NDArray[np.float32] = vectors.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


class LockedEncoder:
    """Lets one thread at a time use an encoder that is not thread-safe."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns the encoder's vectors."""
        with self._lock:
            return self.encoder.encode(texts)

    def encode_places(self, texts: Sequence[str], places: Sequence[Places]) -> ContextVectors | None:
        """Returns the encoder's vectors of texts and places; None if it does not encode places."""
        with self._lock:
            return encode_places(self.encoder, texts, places)


def blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in lists short enough to be tokenized at once."""
    for start in range(0, len(texts), _TOKENIZED_TEXTS):
        yield list(texts[start : start + _TOKENIZED_TEXTS])


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Batches of positions of texts with the same number of tokens, so that no batch needs padding."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    for length, group in groupby(order, key=lambda i: lengths[i]):
        positions = list(group)
        step = max(1, _BATCH_TOKENS // max(1, length))
        for start in range(0, len(positions), step):
            yield positions[start : start + step]


def place_vectors(
    states: NDArray[np.float32], offsets: NDArray[np.int64], places: Places
) -> NDArray[np.float32]:
    """Unit vectors of places: the mean state of their tokens less half of the mean state of all tokens.

    Args:
        states: The last states of a text's tokens, shape (tokens, dimensions).
        offsets: The start and end of each token in the text, shape (tokens, 2); equal for special tokens.
        places: The start and end of each place; a place without tokens gets the vector 0.
    """
    read = offsets[:, 1] > offsets[:, 0]
    starts, ends = offsets[read].T
    sums = np.zeros((len(starts) + 1, states.shape[1]), np.float32)
    np.cumsum(states[read], axis=0, out=sums[1:])
    bounds = np.array(places, np.int64).reshape(-1, 2)
    first = np.searchsorted(ends, bounds[:, 0], side="right")
    last = np.searchsorted(starts, bounds[:, 1], side="left")
    count = np.maximum(last - first, 0)[:, None].astype(np.float32)
    shared = _SHARED * states.mean(axis=0)
    vectors: NDArray[np.float32] = (sums[last] - sums[first]) / np.maximum(count, 1) - shared
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    vectors[count[:, 0] == 0] = 0
    return vectors
