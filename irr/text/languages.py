"""Tells whether texts are in a language that an encoder does not read, by its tokenizer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

# A word of at least two letters; single characters are words in any language.
_WORD = re.compile(r"[^\W\d_]{2,}")
_SAMPLE_TEXTS, _SAMPLE_CHARACTERS, _SAMPLE_WORDS = 400, 2_000, 3_000
# Fewer words than the first tell nothing; fewer than the second need a higher share.
_LEAST_WORDS, _FEW_WORDS = 5, 20
# The English encoder splits 3 to 32 % of the words of English label spaces and texts (most of them where
# names are chemical), and 46 to 100 % of German, French, Spanish, Italian, Polish, Finnish or Russian ones.
_MOST_SPLIT = 0.4

Pieces = Callable[[Sequence[str]], Sequence[int]]


def split_share(texts: Iterable[str], pieces: Pieces) -> tuple[float, int] | None:
    """The share of words that a tokenizer splits, over a sample of the texts.

    Args:
        texts: The texts, of which the first 400 count.
        pieces: Returns the number of word pieces of each word.

    Returns:
        The share in [0, 1], and the number of words; None if they are too few to tell.
    """
    sample = (text[:_SAMPLE_CHARACTERS] for text in islice(texts, _SAMPLE_TEXTS))
    words = [word for text in sample for word in _WORD.findall(text)]
    words = words[:: len(words) // _SAMPLE_WORDS + 1]
    if len(words) < _LEAST_WORDS:
        return None
    return sum(count > 1 for count in pieces(words)) / len(words), len(words)


def language_note(what: str, texts: Iterable[str], pieces: Pieces) -> str:
    """A note for a user whose texts are not in the encoder's language; "" if they are, or are too few.

    Args:
        what: The noun for the texts, in the plural.
        texts: The texts.
        pieces: Returns the number of word pieces of each word, by the encoder's tokenizer.
    """
    found = split_share(texts, pieces)
    if found is None:
        return ""
    share, words = found
    # The standard error of the share is at most 0.5 / sqrt(words).
    if share <= _MOST_SPLIT + (0.5 if words >= _FEW_WORDS else 0.85) / math.sqrt(words):
        return ""
    return (
        f"the {what} do not look like English, and the default encoder reads English only "
        f"(it lacks {share:.0%} of their words): name a multilingual one, "
        "as in --encoder intfloat/multilingual-e5-small"
    )
