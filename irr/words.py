"""Words: where they begin and end in a text, which of them carry content, and their stems."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

import snowballstemmer

# A word, with what holds words together: C++, C#, node.js, front-end, TCP/IP, can't.
WORD = re.compile(r"\w+(?:[-'’+#./&]\w+)*[+#]*")
# Its parts: "front-end" is also "front" and "end"; C++ and C# stay whole.
_PART = re.compile(r"\w+[+#]*")

STOPWORDS = frozenset(
    """a about above after again all also am an and any are as at be because been before being below
    between both but by can could did do does doing down during each either etc few for from further
    had has have having he her here hers him his how i if in into is it its itself just may me might
    more most must my neither no nor not of off on once only or other our ours out over own per same
    shall she should so some such than that the their theirs them then there these they this those
    through to too under until up upon us very via was we were what when where whether which while
    who whom whose why will with within without would you your yours""".split()
)


_stemmer = snowballstemmer.stemmer("english")


def is_content(word: str) -> bool:
    """Whether a word says something by itself: no stopword and no number."""
    return word.lower() not in STOPWORDS and not word.isnumeric()


def stems(texts: Iterable[str]) -> set[str]:
    """The stems of the words of some texts, stopwords left out, compounds taken apart."""
    return {_stem(part) for text in texts for part in _PART.findall(text.lower()) if part not in STOPWORDS}


@cache
def _stem(word: str) -> str:
    return str(_stemmer.stemWord(word))
