"""Makes text safe to show on a terminal: one line of printable characters."""

from __future__ import annotations

# Persian, the Indic scripts and emoji need these two.
_JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """The text with its control characters, bidi overrides and half surrogate pairs written as escapes.

    Spaces of other widths become plain ones; line breaks and tabs are control characters.
    """
    if text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    if character.isspace() and ord(character) > 127 and character not in "\x85\u2028\u2029":
        return " "
    return ascii(character)[1:-1]
