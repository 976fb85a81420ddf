"""A corpus to draft labels from: its distinct texts, their vectors, and their points for clustering."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from irr import Encoder, Settings, SpanInferer
from irr.batch import rows_of
from irr.errors import TextsError, UsageError
from irr.io.columns import Columns
from irr.io.records import open_rows
from irr.text.words import clean, stems

Floats = NDArray[np.float32]

# Principal directions of the vectors and of the words, and the weight of words beside vectors: chosen on dev
# sets (docs/drafting.md).
_DIRECTIONS = 75
_WORD_WEIGHT = 0.5
# Texts that are encoded between two reports of progress.
_BLOCK = 2_048


@dataclass(frozen=True)
class Corpus:
    """Distinct texts and their vectors.

    Attributes:
        texts: The cleaned texts, in the order of their first occurrence.
        counts: The number of occurrences of each, shape (texts,).
        vectors: Unit vectors of the encoder, shape (texts, dimensions).
    """

    texts: tuple[str, ...]
    counts: NDArray[np.int64]
    vectors: Floats

    @classmethod
    def read(
        cls, texts: Iterable[str], encoder: Encoder, progress: Callable[[int, int], None] | None = None
    ) -> Corpus:
        """Cleans and encodes texts; those without a visible character are left out.

        `progress` is called with (texts done, texts in all).

        Raises:
            UsageError: If no text is left.
        """
        counts = Counter(filter(None, map(clean, texts)))
        if not counts:
            raise UsageError("no text holds anything to read", "give texts")
        distinct, spans = tuple(counts), SpanInferer(Settings().infer)
        vectors = []
        for start in range(0, len(distinct), _BLOCK):
            vectors.append(spans.encode(distinct[start : start + _BLOCK], encoder))
            if progress:
                progress(min(start + _BLOCK, len(distinct)), len(distinct))
        return cls(distinct, np.array(list(counts.values())), np.concatenate(vectors))

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def points(self) -> Floats:
        """Unit vectors for clustering: the principal directions of vectors and words, shape (texts, axes)."""
        from sklearn.decomposition import PCA, TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        if len(self) < 3:
            return self.vectors
        axes = min(_DIRECTIONS, len(self) - 1, self.vectors.shape[1])
        points = unit(PCA(axes, random_state=0).fit_transform(self.vectors))
        words = [sorted(stems([text])) for text in self.texts]
        if len(set().union(*words)) > axes + 1:
            weighted = TfidfVectorizer(analyzer=lambda of: of, sublinear_tf=True).fit_transform(words)
            lexical = TruncatedSVD(axes, random_state=0).fit_transform(weighted)
            points = unit(np.hstack([points, _WORD_WEIGHT * lexical]))
        return points


def texts_of(name: str, columns: Columns) -> tuple[list[str], int]:
    """The texts of an input, and the number of its rows without a readable text.

    Raises:
        TextsError: If the input cannot be read, or no text has a visible character.
    """
    with open_rows(name, columns) as source:
        rows = [row.text if row.error is None else "" for row in rows_of(source)]
        texts = [text for text in rows if clean(text)]
        if not texts:
            raise TextsError(source.name, "no text holds anything to read", "give texts")
    return texts, len(rows) - len(texts)


def unit(rows: NDArray[np.floating]) -> Floats:
    """The rows with length 1, shape (rows, axes)."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    vectors: Floats = (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
    return vectors
