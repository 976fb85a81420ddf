"""Splits a long text into passages of whole sentences, and excerpts it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from irr.text.words import words

# The ends of sentences, in scripts that mark them.
_END = re.compile(r"[.!?…\n。！？؟।॥]")

Place = tuple[int, int]


def passages(text: str, max_words: int, max_characters: int, overlap: int) -> Iterator[Place]:
    """Yields the start and end of each passage of a text.

    A passage ends with the last sentence that ends in its second half, and the next begins with the first
    sentence that begins in the overlap, so that a sentence is whole in one of them. Passages of longer
    sentences end at a word. A short text is one passage.

    Args:
        text: The text.
        max_words: The most words of a passage.
        max_characters: The most characters of a passage.
        overlap: The most words that neighbouring passages share.
    """
    places = list(words(text))
    first = after = 0
    while after < len(places):
        # The first passage begins at the start of the text, the last ends at its end.
        start = places[first][0] if first else 0
        after = first + 1
        while (
            after < len(places) and after - first < max_words and places[after][1] - start <= max_characters
        ):
            after += 1
        if after == len(places):
            yield start, len(text)
            return
        borders = [
            word
            for word in range(first + (after - first) // 2 + 1, after + 1)
            if _END.search(text, places[word - 1][1], places[word][0])
        ]
        if borders:
            after = borders[-1]
        yield start, places[after][0]
        begin = after - overlap
        first = max(first + 1, next((word for word in borders if word >= begin), begin))
    if not places:
        yield 0, len(text)


def excerpt(text: str, places: Iterable[Place], characters: int) -> str:
    """An excerpt of a text: the most important of its parts that fit, in text order.

    Args:
        text: The text, which is returned whole if it fits.
        places: Its parts, most important first.
        characters: The most characters of the excerpt.
    """
    if len(text) <= characters:
        return text
    chosen: list[Place] = []
    room = characters
    for start, end in dict.fromkeys(places):
        if end - start <= room:
            chosen.append((start, end))
            room -= end - start
    if not chosen:
        return text[:characters]
    parts: list[str] = []
    last = -1
    for start, end in sorted(chosen):
        # Overlapping parts are joined; an ellipsis stands between others.
        if start > last and parts:
            parts.append(" … ")
        parts.append(text[max(start, last) : end].rstrip() if end > last else "")
        last = max(last, end)
    return "".join(parts)
