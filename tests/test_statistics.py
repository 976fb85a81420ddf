"""A change of weights is kept where luck does not explain its gain."""

from __future__ import annotations

import numpy as np
import pytest

from irr.statistics import lower_bound


@pytest.mark.parametrize(
    ("differences", "kept"),
    [
        ([0.02] * 40 + [0.0] * 20, True),  # many texts gain a little
        ([1.0] + [0.0] * 59, False),  # one text gains all
        ([0.5] * 8 + [-0.5] * 6 + [0.0] * 50, False),  # some gain, some lose
        ([0.0] * 60, False),
    ],
)
def test_a_gain_has_to_come_from_many_texts(differences: list[float], kept: bool) -> None:
    assert (lower_bound(np.array(differences)) > 0) is kept
