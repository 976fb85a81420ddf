"""Golden answers: the same labels, and scores within 1e-6, unless the algorithm's number was raised."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.program.spec import ALGORITHM
from tests.golden.cases import FILES, Case, data_folder, pack_cases, written_cases
from tests.support import read_jsonl

TOLERANCE = 1e-6
# Features of long texts count matches above a level: the last bit of a vector can move a score by so much.
PACK_TOLERANCE = 2e-3


def golden(kind: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of each case."""
    cases = defaultdict(list)
    for row in read_jsonl(FILES[kind]):
        cases[row["case"]].append(row)
    return cases


def check(kind: str, cases: Iterable[tuple[str, Case]], tolerance: float = TOLERANCE) -> None:
    known = golden(kind)
    names = set()
    for name, case in cases:
        names.add(name)
        rows = known[name]
        assert rows, f"case {name} has no golden answers: make golden"
        if rows[0]["input"] != case.input:
            if name.startswith("trove") or kind == "packs":
                pytest.skip(f"{name}: another version of the data than the golden answers were made with")
            pytest.fail(f"case {name}: its input has changed: make golden")
        answers = case.answers()
        assert len(answers) == len(rows)
        worst = max(
            difference(row["labels"], found, tolerance) for row, found in zip(rows, answers, strict=True)
        )
        if rows[0]["algorithm"] != ALGORITHM:
            pytest.fail(f"the golden answers are of algorithm {rows[0]['algorithm']}: make golden")
        assert worst <= tolerance * 1.01, (
            f"case {name}: answers differ by {worst:.2g}, yet ALGORITHM in irr/recipe.py is "
            f"still {ALGORITHM}. If that is meant, raise it and run make golden: "
            "programs frozen before are then refused."
        )
    assert names == set(known), "golden answers of cases that are no more: make golden"


def difference(
    expected: Sequence[Sequence[Any]], found: Sequence[tuple[str, float]], tolerance: float = TOLERANCE
) -> float:
    """The largest difference of scores; infinite where the labels differ, but for ties at the end."""
    if len(expected) != len(found):
        return float("inf")
    if not expected:
        return 0.0
    theirs: Mapping[str, float] = {str(label): float(score) for label, score in expected}
    end = found[-1][1]
    by_label = (
        abs(score - theirs[label]) if label in theirs else 0.0 if score - end <= tolerance else float("inf")
        for label, score in found
    )
    by_place = (abs(score - float(other)) for (_, score), (_, other) in zip(found, expected, strict=True))
    return max([*by_label, *by_place])


def test_the_answers_are_the_golden_ones(encoder: SentenceEncoder, tmp_path: Path) -> None:
    check("written", written_cases(encoder, tmp_path))


def test_the_answers_on_the_data_sets_are_the_golden_ones(encoder: SentenceEncoder, tmp_path: Path) -> None:
    data = data_folder()
    if data is None:
        pytest.skip("no data sets: IRR_DATA names no folder, and ../shared/data is none")
    check("packs", pack_cases(data, encoder, tmp_path), PACK_TOLERANCE)


def test_a_difference_is_seen() -> None:
    answer = [("a", 2.0), ("b", 1.0), ("c", 1.0)]
    assert difference(answer, answer) == 0
    assert difference(answer, [("a", 2.0), ("b", 1.0), ("d", 1.0)]) == 0, "a tie at the end"
    assert difference(answer, [("a", 2.0), ("b", 1.1), ("c", 1.0)]) == pytest.approx(0.1)
    assert difference(answer, [("d", 2.0), ("b", 1.0), ("c", 1.0)]) == float("inf")
    assert difference(answer, answer[:2]) == float("inf")
