"""Texts and counts to show: on one line, cut to a width, without control characters."""

from __future__ import annotations

# Zero-width joiners, which Persian, the Indic scripts and emoji need.
_JOINERS = "\u200c\u200d"


def one_line(text: str) -> str:
    """The text without line breaks or repeated spaces."""
    return " ".join(text.split())


def cut(text: str, width: int) -> str:
    """At most `width` characters of the text; an ellipsis replaces the rest."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def short(text: str, width: int) -> str:
    """The text on one line of at most `width` characters."""
    return cut(one_line(text), width)


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun, which gets an s for the plural if `many` is "": 1 text, 2,000 texts."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def printable(text: str) -> str:
    """The text with control characters, bidi overrides and lone surrogates written as escapes.

    Spaces of other widths become plain ones; line breaks and tabs are control characters.
    """
    return text if text.isprintable() else "".join(map(_printable_character, text))


def _printable_character(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    if character.isspace() and ord(character) > 127 and character not in "\x85\u2028\u2029":
        return " "
    return ascii(character)[1:-1]
