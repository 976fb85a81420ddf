"""An encoder and an index that compute nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from irr.config import RetrieveSettings
from irr.encoders.base import ContextVectors, Encoder, Places, encode_places
from irr.index.store import LabelIndex

# Queries that are looked up at a time.
_BLOCK = 256


class CachingEncoder:
    """An encoder that encodes no text twice."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._places: dict[tuple[str, Places], tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new or not texts:
            vectors = self.encoder.encode(new)
            if not texts:
                return vectors
            self._vectors.update(zip(new, vectors, strict=True))
        return np.array([self._vectors[text] for text in texts], np.float32)

    def encode_places(self, texts: Sequence[str], places: Sequence[Places]) -> ContextVectors | None:
        """Returns the vectors of texts and of places in them; None if the encoder has none of places."""
        keys = [(text, tuple(of_text)) for text, of_text in zip(texts, places, strict=True)]
        new = [key for key in dict.fromkeys(keys) if key not in self._places]
        if new:
            found = encode_places(self.encoder, [text for text, _ in new], [of_text for _, of_text in new])
            if found is None:
                return None
            self._places.update(zip(new, zip(*found, strict=True), strict=True))
        vectors, of_places = zip(*(self._places[key] for key in keys), strict=True)
        return ContextVectors(np.array(vectors, np.float32), list(of_places))


@dataclass(frozen=True)
class CachingIndex(LabelIndex):
    """An index that looks up no query twice."""

    known: dict[bytes, NDArray[np.int64]] = field(default_factory=dict)

    def nearest(self, vectors: NDArray[np.float32], n_results: int) -> NDArray[np.int64]:
        """Returns the nearest entries of each query vector, exact ones in a small label space."""
        keys = [vector.tobytes() for vector in vectors]
        new = [row for row, key in enumerate(keys) if key not in self.known]
        n_results = min(n_results, len(self.vectors))
        for start in range(0, len(new), _BLOCK):
            rows = new[start : start + _BLOCK]
            if len(self.vectors) > RetrieveSettings().exact_entries:
                found = super().nearest(vectors[rows], n_results)
            else:
                found = np.argpartition(vectors[rows] @ self.vectors.T, -n_results)[:, -n_results:]
            self.known.update(zip((keys[row] for row in rows), found, strict=True))
        return np.array([self.known[key] for key in keys])
