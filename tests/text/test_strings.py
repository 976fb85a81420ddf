"""Nothing but printable text reaches a terminal or a row."""

from __future__ import annotations

import sys

import pytest

from irr.text.strings import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bake bread, 包饺子 (dumplings) – é", "bake bread, 包饺子 (dumplings) – é"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("safe\u202egnp.exe", "safe\\u202egnp.exe"),
        ("\u2066isolated\u2069", "\\u2066isolated\\u2069"),
        ("two\r\nlines\u2028more", "two\\r\\nlines\\u2028more"),
        ("half \ud83d pair", "half \\ud83d pair"),
        ("hard\u00a0space", "hard space"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\x9b31m C1", "\\x9b31m C1"),
    ],
)
def test_what_steers_a_terminal_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_every_character_comes_out_printable() -> None:
    for number in range(sys.maxunicode + 1):
        shown = printable(chr(number))
        assert shown.isprintable() or shown in "\u200c\u200d"
        shown.encode("utf-8")
