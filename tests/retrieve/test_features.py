"""Features and their combination: what each number is, what adds up, and what stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from irr.retrieve.features import (
    FEATURES,
    PLAIN,
    Combination,
    Features,
    default_combination,
    length_share,
    match_features,
    relative_features,
)
from irr.retrieve.queries import TextPart
from irr.retrieve.score import Pool
from irr.types import EntryKind, QueryKind

NAMES = list(FEATURES)
KINDS = list(EntryKind)


def unit(*values: float) -> np.ndarray:
    vector = np.array(values, np.float32)
    return vector / np.linalg.norm(vector)


def part(number: int, text_row: int, span_rows: list[int]) -> TextPart:
    rows = {QueryKind.TEXT: np.array([text_row]), QueryKind.SPAN: np.array(span_rows)}
    return TextPart(passage=f"passage {number}", place=(0, 1), queries={}, rows=rows)


@pytest.fixture
def features() -> Features:
    """Two labels, the second with a description; two passages that share the span that is the first name."""
    pool = Pool(
        labels=np.array([7, 3]),
        vectors=np.array([unit(1, 0, 0), unit(0, 1, 0), unit(0, 0, 1)]),
        starts=np.array([0, 1]),
        kinds=np.array([KINDS.index(EntryKind.NAME)] * 2 + [KINDS.index(EntryKind.DESCRIPTION)], np.uint8),
        margins={},
    )
    vectors = np.array([unit(1, 1, 0), unit(0, 1, 1), unit(1, 0, 0), unit(0, 3, 4)])
    parts = [part(0, 0, [2]), part(1, 1, [2, 3])]
    common = np.array([True, True])
    known = match_features(parts, vectors, pool, common)
    known["score"] = np.array([0.9, 0.4], np.float32)
    return relative_features(pool.labels, common, known, len(parts))


def difference(features: Features, name: str) -> float:
    """How much more the first label has; what all labels share is taken off every feature."""
    column = features.values[:, NAMES.index(name)]
    return float(column[0] - column[1])


def test_features_are_their_formulas(features: Features) -> None:
    assert features.values[:, 0].tolist() == pytest.approx([0.9, 0.4])
    assert features.passages == 2
    # Each label meets one passage and another passage equally well: the description does not count.
    assert difference(features, "passage_match") == pytest.approx(0, abs=1e-6)
    # The span of the first name stands in both passages and counts ln(1 + 2); the other counts ln(1 + 1).
    assert difference(features, "strong_matches") == pytest.approx(np.log1p(10 * np.log(3) * 0.3))
    assert difference(features, "exclusive_matches") == pytest.approx(np.log1p(10 * np.log(3) / 2 * 0.4))
    expected = np.log1p(10 * np.log(3) * 0.5) - np.log1p(10 * np.log(2) * 0.1)
    assert difference(features, "specific_matches") == pytest.approx(expected, abs=1e-5)
    assert difference(features, "standout_span") == pytest.approx(0.5 / 0.52 - 0.3 / 0.32, abs=1e-5)


def test_contributions_add_up_to_the_score(features: Features) -> None:
    combination = default_combination()
    assert combination.contributions(features).sum(axis=1) == pytest.approx(combination.scores(features))
    assert PLAIN.scores(features) == pytest.approx(features.values[:, 0])


def test_weights_go_from_short_to_long_texts() -> None:
    assert length_share(0) == length_share(1) == 0
    assert length_share(4) == pytest.approx(0.5)
    assert length_share(16) == length_share(400) == 1
    values = np.eye(len(NAMES), dtype=np.float32)[:1]
    one = Features(np.array([0]), values, 4, np.zeros(1, np.float32))
    assert Combination(short={"score": 1}, long={"score": 3}).scores(one) == pytest.approx(2)


def test_a_weight_of_no_feature_is_refused() -> None:
    with pytest.raises(ValidationError, match="no feature nonsense"):
        Combination(short={"nonsense": 1.0})
