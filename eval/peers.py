"""What a text can be classified by instead: plain baselines, each behind the same call as a program."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import snowballstemmer
from numpy.typing import NDArray

from irr.config import Settings
from irr.encoders.base import Encoder
from irr.index.store import LabelIndex
from irr.infer.spans import SpanInferer
from irr.labels.space import LabelSpace
from irr.text.words import clean
from irr.types import Prediction, RankedLabel

Floats = NDArray[np.float32]
_BLOCK = 64


class Peer:
    """Ranks all labels for a text by one score each; subclasses say which."""

    def __init__(self, name: str, space: LabelSpace) -> None:
        self.space = space
        self.digest = hashlib.sha256(f"{name}\n{space.fingerprint}".encode()).hexdigest()

    def batch(self, texts: Iterable[str], top_k: int, trace: bool = False) -> Iterator[Prediction]:
        """Yields one prediction for each text, in order; there is no trace."""
        waiting = iter(texts)
        while block := [clean(text) or " " for text in islice(waiting, _BLOCK)]:
            yield from (self._prediction(scores, top_k) for scores in self.scores(block))

    def scores(self, texts: Sequence[str]) -> Iterable[Floats]:
        """Each text's score for each label, shape (labels,)."""
        raise NotImplementedError

    def _prediction(self, scores: Floats, top_k: int) -> Prediction:
        best = np.argsort(-scores, kind="stable")[:top_k]
        return Prediction(
            labels=tuple(
                RankedLabel(id=self.space[int(n)].id, name=self.space[int(n)].name, score=float(scores[n]))
                for n in best
            )
        )


class WholeText(Peer):
    """Cosine of the whole text to the best of a label's entries: what most people try first."""

    def __init__(self, name: str, index: LabelIndex, encoder: Encoder) -> None:
        super().__init__(f"{name} {encoder.name}", index.space)
        self._vectors = np.array(index.vectors)
        self._starts = np.searchsorted(index.label_of, np.arange(len(index.space)))
        self._encoder = encoder

    def scores(self, texts: Sequence[str]) -> Iterable[Floats]:
        """The highest similarity to any entry."""
        similarity = self._encoder.encode(texts) @ self._vectors.T
        best: Floats = np.maximum.reduceat(similarity, self._starts, axis=1)
        return best


class MostSimilarQuery(WholeText):
    """The retrieve step of Infer-Retrieve-Rank (arXiv 2401.12178): the best cosine over all queries.

    Its queries are terms of a language model there; here they are the ones that this program makes without.
    """

    def __init__(self, index: LabelIndex, encoder: Encoder, settings: Settings) -> None:
        super().__init__("most similar query", index, encoder)
        self._inferer = SpanInferer(settings.infer)

    def scores(self, texts: Sequence[str]) -> Iterable[Floats]:
        """The highest similarity to any entry, over queries."""
        for inference in self._inferer.infer(texts):
            queries = [query.text for query in inference.queries]
            yield np.max(list(super().scores(queries)), axis=0)


class WordsOnly(Peer):
    """BM25 over each label's name, aliases and description, stemmed, by the library bm25s."""

    def __init__(self, space: LabelSpace) -> None:
        import bm25s

        super().__init__("BM25", space)
        self._stemmer = snowballstemmer.stemmer("english")
        self._bm25: Any = bm25s.BM25()
        documents = [". ".join([label.name, *label.aliases, label.description or ""]) for label in space]
        self._bm25.index(self._tokens(documents), show_progress=False)

    def scores(self, texts: Sequence[str]) -> Iterable[Floats]:
        """BM25 with Lucene's formula, k1 = 1.5, b = 0.75."""
        for words in self._tokens(texts):
            known = [word for word in words if word in self._bm25.vocab_dict]
            yield self._bm25.get_scores(known) if known else np.zeros(len(self.space), np.float32)

    def _tokens(self, texts: Sequence[str]) -> Any:
        import bm25s

        return bm25s.tokenize(
            list(texts),
            stopwords="en",
            stemmer=self._stemmer.stemWords,
            return_ids=False,
            show_progress=False,
        )
