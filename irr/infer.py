"""Infer: a text to queries; without a language model, its passages and its spans."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Protocol

from irr.types import Inference, Query, QueryKind
from irr.words import is_content, words

# No span runs across these.
_BREAK = re.compile(r"[.!?;:,()\[\]{}|•·\n\"“”。！？；：，、（）「」『』…]")
# A passage is below what common encoders read (256 tokens). Passages overlap, so that what one cuts in two
# the next has whole.
_PASSAGE_WORDS = 60
_PASSAGE_CHARACTERS = 500
_OVERLAP_WORDS = 20


class Inferer(Protocol):
    """Maps texts to the queries that retrieval looks up."""

    def infer(self, texts: Sequence[str]) -> list[Inference]:
        """Returns the queries of each text, without duplicates."""
        ...


class SpanInferer:
    """The text itself, in passages if it is long, and its spans.

    Spans are the windows of 1 to `max_words` words, at most `max_content_words` of them content words,
    that neither begin nor end in a stopword or a number and do not run across punctuation: about a third of
    all windows, and on the dev sets nothing is lost by it (eval/README.md).
    """

    def __init__(self, max_words: int, max_content_words: int) -> None:
        self._max_words = max_words
        self._max_content_words = max_content_words

    def infer(self, texts: Sequence[str]) -> list[Inference]:
        """Returns the passages and spans of each text."""
        return [Inference(queries=tuple(self._queries(text))) for text in texts]

    def _queries(self, text: str) -> Iterator[Query]:
        for passage in dict.fromkeys(passages(text)):
            yield Query(text=passage, kind=QueryKind.TEXT)
        for span in dict.fromkeys(self._spans(text)):
            yield Query(text=span, kind=QueryKind.SPAN)

    def _spans(self, text: str) -> Iterator[str]:
        for clause in _clauses(text):
            content = [is_content(word) for word in clause]
            for start in range(len(clause)):
                if not content[start]:
                    continue
                for end in range(start, min(start + self._max_words, len(clause))):
                    if sum(content[start : end + 1]) > self._max_content_words:
                        break
                    if content[end]:
                        yield " ".join(clause[start : end + 1])


def _clauses(text: str) -> Iterator[list[str]]:
    """The words of a text, broken where punctuation stands between two of them."""
    clause: list[str] = []
    end = 0
    for start, after in words(text):
        if clause and _BREAK.search(text, end, start):
            yield clause
            clause = []
        clause.append(text[start:after])
        end = after
    yield clause


def passages(text: str) -> Iterator[str]:
    """The overlapping parts of a text that an encoder can read; a short text is one."""
    places = list(words(text))
    first = after = 0
    while after < len(places):
        # The first passage begins with the text, the last ends with it: nothing between words is lost.
        start = places[first][0] if first else 0
        after = first + 1
        while (
            after < len(places)
            and after - first < _PASSAGE_WORDS
            and places[after][1] - start <= _PASSAGE_CHARACTERS
        ):
            after += 1
        yield text[start : places[after][0] if after < len(places) else len(text)].strip()
        first = max(first + 1, after - _OVERLAP_WORDS)
    if not places:
        yield text
