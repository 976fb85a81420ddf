"""The interface of an encoder: texts to unit vectors."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
# Tokens of a batch: some 300 spans or 8 full passages. Larger batches are no faster on a CPU.
_BATCH_TOKENS = 2_048


Places = Sequence[tuple[int, int]]


class InContext(NamedTuple):
    """Texts and places in them, encoded in one pass.

    Attributes:
        vectors: Unit vectors of the texts, as `encode` gives them, shape (texts, dimensions).
        places: Unit vectors of the places of each text, shape (places, dimensions); 0 for a place that the
            encoder does not read.
    """

    vectors: NDArray[np.float32]
    places: list[NDArray[np.float32]]


class Encoder(Protocol):
    """Maps texts to vectors whose dot product is their similarity."""

    @property
    def name(self) -> str:
        """Identifies the encoder, and is part of the key of its indexes."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions), in the order of `texts`."""
        ...


def encode_places(encoder: Encoder, texts: Sequence[str], places: Sequence[Places]) -> InContext | None:
    """The vectors of texts, and of places in them, from one pass; None if the encoder has none of places.

    Args:
        encoder: The encoder.
        texts: The texts.
        places: The start and end of places in each text, in characters.
    """
    method = getattr(encoder, "encode_places", None)
    return None if method is None else method(texts, places)


def encode_whole(encoder: Encoder, texts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """Returns a unit vector for each text, the mean of its passages' vectors, shape (texts, dimensions).

    Args:
        encoder: Encodes the passages.
        texts: The passages of each text, at least one.
    """
    vectors = encoder.encode([passage for passages in texts for passage in passages])
    ends = np.cumsum([len(passages) for passages in texts])[:-1]
    return np.array([unit_mean(group) for group in np.split(vectors, ends)], np.float32)


def unit_mean(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The direction of the mean of some vectors, shape (dimensions,)."""
    mean: NDArray[np.float32] = vectors.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


class LockedEncoder:
    """An encoder that serves one thread at a time, for encoders that are not thread-safe."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self._free = threading.Lock()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns the encoder's vectors."""
        with self._free:
            return self.encoder.encode(texts)

    def encode_places(self, texts: Sequence[str], places: Sequence[Places]) -> InContext | None:
        """Returns the encoder's vectors of texts and places; None if it has none of places."""
        with self._free:
            return encode_places(self.encoder, texts, places)


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Batches of positions of texts with the same number of tokens, so that no batch needs padding."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    for length, group in groupby(order, key=lambda i: lengths[i]):
        positions = list(group)
        step = max(1, _BATCH_TOKENS // max(1, length))
        for start in range(0, len(positions), step):
            yield positions[start : start + step]
