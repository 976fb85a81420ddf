"""Golden answers: the same labels, and scores within 1e-6, unless the algorithm's number was raised."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.program.spec import ALGORITHM
from tests.golden.cases import COPIED, FILES, PACKS, Case, data_folder, pack_case, written_cases
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


def check(name: str, case: Case, rows: Sequence[Mapping[str, Any]], tolerance: float = TOLERANCE) -> None:
    assert rows, f"case {name} has no golden answers: make golden"
    assert rows[0]["input"] == case.input, f"case {name}: its input has changed: make golden"
    answers = case.answers()
    assert len(answers) == len(rows)
    worst = max(difference(row["labels"], found, tolerance) for row, found in zip(rows, answers, strict=True))
    assert rows[0]["algorithm"] == ALGORITHM, f"case {name}: answers of another algorithm: make golden"
    assert worst <= tolerance * 1.01, (
        f"case {name}: answers differ by {worst:.2g}, yet ALGORITHM in irr/program/spec.py is "
        f"still {ALGORITHM}. If that is meant, raise it and run make golden: "
        "programs frozen before are then refused."
    )


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
    known = golden("written")
    cases = dict(written_cases(encoder, tmp_path))
    assert set(known) == set(cases), "golden answers of other cases: make golden"
    for name, case in cases.items():
        check(name, case, known[name])


@pytest.mark.parametrize("name", COPIED)
def test_the_answers_on_copied_data_are_the_golden_ones(
    name: str, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    check(name, pack_case(name, tmp_path, encoder, tmp_path), golden("packs")[name])


@pytest.mark.parametrize("name", PACKS)
def test_the_answers_on_data_that_may_not_be_copied_are_the_golden_ones(
    name: str, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    rows = golden("packs")[name]
    data = data_folder()
    if data is None:
        pytest.skip("no data sets: IRR_DATA names no folder, and ../shared/data is none")
    case = pack_case(name, data, encoder, tmp_path)
    if rows[0]["input"] != case.input:
        pytest.skip(f"{name}: another version of the data than the golden answers were made with")
    check(name, case, rows, PACK_TOLERANCE)


def test_a_difference_is_seen() -> None:
    answer = [("a", 2.0), ("b", 1.0), ("c", 1.0)]
    assert difference(answer, answer) == 0
    assert difference(answer, [("a", 2.0), ("b", 1.0), ("d", 1.0)]) == 0, "a tie at the end"
    assert difference(answer, [("a", 2.0), ("b", 1.1), ("c", 1.0)]) == pytest.approx(0.1)
    assert difference(answer, [("d", 2.0), ("b", 1.0), ("c", 1.0)]) == float("inf")
    assert difference(answer, answer[:2]) == float("inf")
