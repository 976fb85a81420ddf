"""Infer: a text to queries; without a language model, its passages and its spans."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from irr.config import InferSettings
from irr.encoders.base import Encoder, encode_whole
from irr.text.words import is_content, is_han, passages, words
from irr.types import Inference, Query, QueryKind

# No span runs across these.
_BREAK = re.compile(r"[.!?;:,()\[\]{}|•·\n\"“”«»。！？；：，、（）「」『』…،؛؟।॥]")
# A character of a script without spaces is about half a word.
_HAN_WORDS = 0.5


class Inferer(Protocol):
    """Maps texts to the queries that retrieval looks up."""

    def infer(self, texts: Sequence[str]) -> list[Inference]:
        """Returns the queries of each text, without duplicates."""
        ...


class SpanInferer:
    """The text itself, in passages if it is long, and the spans of each passage.

    Spans are the windows of 1 to `span_words` words, at most `span_content_words` of them content words,
    that neither begin nor end in a stopword or a number and do not run across punctuation. They are about a
    third of all windows, and score as well as all on the dev sets (eval/README.md).
    """

    def __init__(self, settings: InferSettings) -> None:
        self._settings = settings

    def passages(self, text: str) -> Iterator[tuple[int, int]]:
        """Yields the start and end of each passage of a text, at least one."""
        settings = self._settings
        return passages(text, settings.passage_words, settings.passage_characters, settings.passage_overlap)

    def encode(self, texts: Sequence[str], encoder: Encoder) -> NDArray[np.float32]:
        """A unit vector for each text, the mean of its passages' vectors, shape (texts, dimensions)."""
        return encode_whole(
            encoder, [[text[start:end].strip() for start, end in self.passages(text)] for text in texts]
        )

    def infer(self, texts: Sequence[str]) -> list[Inference]:
        """Returns the passages and spans of each text."""
        return [Inference(queries=tuple(self._queries(text))) for text in texts]

    def _queries(self, text: str) -> Iterator[Query]:
        for number, (start, end) in enumerate(self.passages(text)):
            passage = text[start:end]
            yield Query(text=passage.strip(), kind=QueryKind.TEXT, passage=number, start=start, end=end)
            seen: set[str] = set()
            for first, last, span in self._spans(passage):
                if span not in seen:
                    seen.add(span)
                    place = {"start": start + first, "end": start + last}
                    yield Query(text=span, kind=QueryKind.SPAN, passage=number, **place)

    def _spans(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yields the start and end of each span, and its words."""
        for clause in _clauses(text):
            names = [text[start:end] for start, end in clause]
            content = [is_content(word) for word in names]
            size = [_HAN_WORDS if is_han(word) else 1.0 for word in names]
            for first in range(len(clause)):
                if not content[first]:
                    continue
                span, after = "", clause[first][0]
                length = held = 0.0
                for last in range(first, len(clause)):
                    length += size[last]
                    held += size[last] * content[last]
                    if length > self._settings.span_words or held > self._settings.span_content_words:
                        break
                    # Words without a space between them stay together.
                    span += (" " if span and clause[last][0] > after else "") + names[last]
                    after = clause[last][1]
                    if content[last]:
                        yield clause[first][0], after, span


def _clauses(text: str) -> Iterator[list[tuple[int, int]]]:
    """The places of the words of a text, in runs without punctuation between them."""
    clause: list[tuple[int, int]] = []
    end = 0
    for start, after in words(text):
        if clause and _BREAK.search(text, end, start):
            yield clause
            clause = []
        clause.append((start, after))
        end = after
    yield clause
