"""Words of a text, their places and stems, and its passages of whole sentences."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

import snowballstemmer

Place = tuple[int, int]

# Scripts without spaces, in which every character counts as a word.
_HAN = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
# Combining accents and vowel signs, which `\w` does not match.
_MARKS = (
    r"\u0300-\u036f\u0591-\u05bd\u05bf\u05c1-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06ed"
    r"\u0900-\u0963\u0971-\u0dff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece"
    r"\u0f71-\u0f84\u102b-\u103e\u17b4-\u17d3\u200c\u200d"
)
_LETTER = rf"(?:[^\W{_HAN}]|[{_MARKS}])"
# A word, or several joined by a sign: C++, C#, node.js, front-end, TCP/IP, can't.
WORD = re.compile(rf"[{_HAN}]|{_LETTER}+(?:[-'’+#./&]{_LETTER}+)*[+#]*")
# The parts of a word: "front" and "end" of "front-end"; C++ and C# stay whole.
_PART = re.compile(rf"[{_HAN}]|{_LETTER}+[+#]*")
_HAN_WORD = re.compile(rf"[{_HAN}]")

STOPWORDS = frozenset(
    """a about above after again all also am an and any are as at be because been before being below
    between both but by can could did do does doing down during each either etc few for from further
    had has have having he her here hers him his how i if in into is it its itself just may me might
    more most must my neither no nor not of off on once only or other our ours out over own per same
    shall she should so some such than that the their theirs them then there these they this those
    through to too under until up upon us very via was we were what when where whether which while
    who whom whose why will with within without would you your yours""".split()
)
# Longer runs of letters, of other scripts without spaces or of no language, are cut into pieces.
_LONGEST_WORD = 40
_PIECE = 12
# The ends of sentences, in scripts that mark them.
_END = re.compile(r"[.!?…\n。！？؟।॥]")
_UNREADABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_stemmer = snowballstemmer.stemmer("english")
# The stemmer holds the current word, so that one thread at a time may use it.
_stemming = threading.Lock()


def clean(text: str) -> str:
    """The text without control characters and half surrogate pairs; "" if no visible character is left."""
    text = _UNREADABLE.sub(" ", text).strip()
    return text if any(c.isprintable() and not c.isspace() for c in text) else ""


def words(text: str) -> Iterator[Place]:
    """Yields the start and end of each word of a text."""
    for match in WORD.finditer(text):
        start, end = match.span()
        if end - start <= _LONGEST_WORD:
            yield start, end
        else:
            for piece in range(start, end, _PIECE):
                yield piece, min(piece + _PIECE, end)


def is_han(word: str) -> bool:
    """Whether a word is one character of a script without spaces."""
    return _HAN_WORD.match(word) is not None


def is_content(word: str) -> bool:
    """Whether a word has a letter and is not a stopword."""
    return word.lower() not in STOPWORDS and any(c.isalpha() for c in word)


def stems(texts: Iterable[str]) -> set[str]:
    """The stems of the words of texts, without stopwords, compounds split."""
    return {_stem(part) for text in texts for part in _PART.findall(_folded(text)) if part not in STOPWORDS}


def _folded(text: str) -> str:
    # NFKC and case folding give equal words one form, as ß and ss, or full and half width.
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


# Large enough for the words that recur.
@lru_cache(2**15)
def _stem(word: str) -> str:
    with _stemming:
        return str(_stemmer.stemWord(word))


def passages(text: str, max_words: int, max_characters: int, overlap: int) -> Iterator[Place]:
    """Yields the start and end of each passage of a text.

    A passage ends with the last sentence that ends in its second half, and the next begins with the first
    sentence that begins in the overlap, so that a sentence is whole in one of them. Passages of longer
    sentences end at a word. A short text is one passage. Neighbours share up to `overlap` words.
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
    """The text if it fits, else as many of its parts (given most important first) as fit, in text order."""
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
