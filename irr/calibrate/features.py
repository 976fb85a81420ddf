"""What calibration knows of a ranking: numbers for each label, and numbers for the text as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from irr.types import Candidate, RankedLabel

Floats = NDArray[np.float64]
# Labels of a ranking that calibration learns from: deeper ones are all but never right.
DEPTH = 50


def features(ranking: Sequence[RankedLabel], candidates: Sequence[Candidate]) -> Floats:
    """What speaks for each label of a ranking.

    Args:
        ranking: A text's labels, best first.
        candidates: Its candidates, in any order.

    Returns:
        Shape (labels, 8): the score, how far it is above the best other one, the logarithm of the rank, what
        the ranker added to the score of retrieval, name recall, word cosine, the text's similarity to its
        nearest example, and that to the label's nearest example.
    """
    found = {candidate.label.id: candidate for candidate in candidates}
    known = np.array(
        [
            (label.score, c.score, c.name_recall, c.word_cosine, c.example)
            for label in ranking
            for c in (found[label.id],)
        ]
    ).reshape(len(ranking), 5)
    scores = known[:, 0]
    rank = np.log1p(np.arange(len(scores)))
    lead = scores - scores[:1]
    lead[:1] = scores[:1] - scores[1:2] if len(scores) > 1 else 0.0
    nearest = np.full(len(scores), _nearest(candidates))
    added = scores - known[:, 1]
    return np.column_stack([scores, lead, rank, added, known[:, 2:4], nearest, known[:, 4]])


def profile(candidates: Sequence[Candidate]) -> Floats:
    """What tells a text that the label space has something for from one that it has nothing for.

    Args:
        candidates: Of the text, best first.

    Returns:
        Shape (4,): the best score, its distance to the mean of the first fifty, the similarity to the nearest
        example, and that to the nearest example of the best label. All are higher within scope.
    """
    if not candidates:
        return np.zeros(4)
    scores = np.array([candidate.score for candidate in candidates[:DEPTH]])
    return np.array([scores[0], scores[0] - scores.mean(), _nearest(candidates), candidates[0].example])


def _nearest(candidates: Sequence[Candidate]) -> float:
    """How similar the text is to its nearest example."""
    return max((candidate.example for candidate in candidates), default=0.0)
