"""Texts on one line, whole or cut to a width."""

from __future__ import annotations


def one_line(text: str) -> str:
    """The text without line breaks or repeated spaces."""
    return " ".join(text.split())


def cut(text: str, width: int) -> str:
    """At most `width` characters of the text; what is left out is an ellipsis."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def short(text: str, width: int) -> str:
    """The text on one line of at most `width` characters."""
    return cut(one_line(text), width)
