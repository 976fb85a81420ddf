"""Lexical evidence: values worked out by hand."""

from __future__ import annotations

import math

import pytest

from irr.lexical import NameCoverage


def idf(n: int, of: int) -> float:
    return math.log(1 + (of - n + 0.5) / (n + 0.5))


def test_coverage_by_hand() -> None:
    """Stems: {bake, bread}, {bread}, {c++}, {}; "bread" stands in two of four names, "bake" in one."""
    coverage = NameCoverage(["bake breads", "the bread", "C++", "of the"])
    found = coverage(["They baked,", "in C++."])
    assert found == pytest.approx([idf(1, 4) / (idf(1, 4) + idf(2, 4)), 0, 1, 0])
    assert coverage(["Front-end breads"]) == pytest.approx([idf(2, 4) / (idf(1, 4) + idf(2, 4)), 1, 0, 0])
    assert coverage([]) == pytest.approx([0, 0, 0, 0])
