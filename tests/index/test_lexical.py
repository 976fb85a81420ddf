"""Lexical evidence: values worked out by hand, and the same from a file."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from irr.index.lexical import LexicalIndex, Postings


def idf(n: int, of: int) -> float:
    return math.log(1 + (of - n + 0.5) / (n + 0.5))


def evidence(names: list[str], wholes: list[str] | None = None) -> LexicalIndex:
    return LexicalIndex(Postings.of_texts(names), Postings.of_texts(wholes or names))


def test_coverage_by_hand() -> None:
    """Stems: {bake, bread}, {bread}, {c++}, {}; "bread" stands in two of four names, "bake" in one."""
    words = evidence(["bake breads", "the bread", "C++", "of the"])
    found, _ = words("They baked, in C++.")
    assert found == pytest.approx([idf(1, 4) / (idf(1, 4) + idf(2, 4)), 0, 1, 0])
    found, _ = words("Front-end breads")
    assert found == pytest.approx([idf(2, 4) / (idf(1, 4) + idf(2, 4)), 1, 0, 0])
    assert words("")[0] == pytest.approx([0, 0, 0, 0])


def test_likeness_by_hand() -> None:
    """One label says {bake, bread, oven}, the other {bread}; the passage {bread, oven, x}."""
    _, found = evidence(["bake", "bread"], ["bake bread oven", "bread"])("breads, ovens, x")
    one, two = idf(1, 2), idf(2, 2)
    passage = math.hypot(one, two)
    assert found == pytest.approx(
        [passage**2 / (math.hypot(one, one, two) * passage), two**2 / (two * passage)]
    )


def test_what_is_read_back_is_what_was_saved(tmp_path: Path) -> None:
    words = evidence(["bake bread", "包饺子", "of the"], ["bake bread, loaves", "包饺子 dumplings", "of the"])
    words.save(tmp_path / "words.npz")
    again = LexicalIndex.load(tmp_path / "words.npz", 3)
    for text in ("loaves of bread", "饺子", "nothing"):
        for first, second in zip(words(text), again(text), strict=True):
            assert first.tolist() == second.tolist()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Straßenbau", "STRASSENBAU"),
        ("ΣΧΕΔΙΑΣΜΌΣ", "σχεδιασμός"),
        ("Työkyky", "työkyky"),
        ("Kierrätys", "Kierra\u0308tys"),  # composed, and with an accent of its own
        ("软件工程", "他学习软件工程。"),
        ("كتابة", "كتابة،"),
        ("हिन्दी", "हिन्दी।"),
        ("Ｄａｔａ", "data"),
    ],
)
def test_words_meet_whatever_their_script_and_form(name: str, text: str) -> None:
    coverage, _ = evidence([name, "other"])(text)
    assert coverage == pytest.approx([1, 0])
