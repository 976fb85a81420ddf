"""A pile of texts to draft labels from: each text once, with its vector and its place among the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from irr.batch import rows_of
from irr.config import InferSettings
from irr.encoders.base import Encoder, encode_whole
from irr.errors import TextsError, UsageError
from irr.infer.spans import SpanInferer
from irr.io.columns import Columns
from irr.io.records import open_rows
from irr.text.words import clean, stems

Floats = NDArray[np.float32]

# Directions that are kept of the vectors, and of the words: chosen on dev sets (docs/drafting.md).
_DIRECTIONS = 75
# How much words count beside vectors.
_WORDS = 0.5
_BLOCK = 2_048


@dataclass(frozen=True)
class Corpus:
    """Distinct texts and their vectors.

    Attributes:
        texts: What can be read of them, in the order of their first coming.
        counts: How often each came, shape (texts,).
        vectors: Of the encoder, shape (texts, dimensions).
    """

    texts: tuple[str, ...]
    counts: NDArray[np.int64]
    vectors: Floats

    @classmethod
    def read(
        cls, texts: Iterable[str], encoder: Encoder, progress: Callable[[int, int], None] | None = None
    ) -> Corpus:
        """Cleans and encodes texts; those that hold nothing to read are left out.

        Args:
            texts: The texts.
            encoder: Encodes them.
            progress: Called with (texts done, texts in all).

        Raises:
            UsageError: If nothing is left.
        """
        counts: dict[str, int] = {}
        for text in filter(None, map(clean, texts)):
            counts[text] = counts.get(text, 0) + 1
        if not counts:
            raise UsageError("no text holds anything to read", "give texts")
        distinct = list(counts)
        return cls(tuple(distinct), np.array(list(counts.values())), encode(distinct, encoder, progress))

    def __len__(self) -> int:
        return len(self.texts)

    def part(self, rows: NDArray[np.int64]) -> Corpus:
        """Some of the texts."""
        return Corpus(tuple(self.texts[row] for row in rows), self.counts[rows], self.vectors[rows])

    @cached_property
    def points(self) -> Floats:
        """Unit vectors for clustering: the main directions of vectors and of words, shape (texts, axes)."""
        from sklearn.decomposition import PCA, TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        if len(self) < 3:
            return self.vectors
        axes = min(_DIRECTIONS, len(self) - 1, self.vectors.shape[1])
        points = _unit(PCA(axes, random_state=0).fit_transform(self.vectors))
        words = [sorted(stems([text])) for text in self.texts]
        if len({word for of in words for word in of}) > axes + 1:
            weighted = TfidfVectorizer(analyzer=lambda of: of, sublinear_tf=True).fit_transform(words)
            lexical = TruncatedSVD(axes, random_state=0).fit_transform(weighted)
            points = _unit(np.hstack([points, _WORDS * lexical]))
        return points


def texts_of(name: str, columns: Columns) -> tuple[list[str], int]:
    """The texts of an input, and how many of its rows hold none.

    Raises:
        TextsError: If it cannot be read, or no text holds anything to read.
    """
    with open_rows(name, columns) as source:
        rows = [row.text if row.error is None else "" for row in rows_of(source)]
        texts = [text for text in rows if clean(text)]
        if not texts:
            raise TextsError(source.name, "no text holds anything to read", "give texts")
    return texts, len(rows) - len(texts)


def encode(
    texts: Sequence[str], encoder: Encoder, progress: Callable[[int, int], None] | None = None
) -> Floats:
    """Vectors of whole texts, as labelled examples get them, shape (texts, dimensions)."""
    passages = list(map(SpanInferer(InferSettings()).passage_texts, texts))
    vectors = []
    for start in range(0, len(texts), _BLOCK):
        vectors.append(encode_whole(encoder, passages[start : start + _BLOCK]))
        if progress:
            progress(min(start + _BLOCK, len(texts)), len(texts))
    return np.concatenate(vectors)


def _unit(rows: NDArray[np.floating]) -> Floats:
    unit: Floats = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return unit
