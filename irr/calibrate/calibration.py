"""Calibration: from the scores of a ranking to the probability that a label is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from irr.calibrate.risk_control import precision_cut_off, recall_cut_off
from irr.types import Candidate, RankedLabel

Floats = NDArray[np.float64]

# Fewer texts with gold say too little.
FEWEST_TEXTS = 30
# Labels of a ranking that calibration learns from: deeper ones are all but never right.
DEPTH = 50
_FOLDS = 5
# Strength of the L2 penalty on standardized features, as scikit-learn's 1 / C.
_PENALTY = 1.0
_PROMISES = tuple(round(0.5 + 0.01 * i, 2) for i in range(50))


class Ranked(NamedTuple):
    """The ranking of a text with gold: its features, which labels are right, and how many gold labels there are.

    Attributes:
        features: What `features` gives, shape (labels, features).
        right: Whether each label is gold, shape (labels,).
        gold: Gold labels of the text, those outside the ranking included.
    """

    features: Floats
    right: NDArray[np.bool_]
    gold: int


class Calibration(BaseModel):
    """A logistic curve over the features of a ranked label, and the cut-offs that keep a promise.

    Attributes:
        program: Digest of the program that it was fitted for.
        texts: How many texts with gold it was fitted on.
        center: Means of the features.
        scale: Their standard deviations.
        weights: Of the standardized features.
        intercept: Log-odds where all features are at their means.
        precision: Pairs of a promised precision and the least probability that keeps it, ascending.
        recall: The same for recall.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    program: str
    texts: int
    center: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    precision: tuple[tuple[float, float], ...] = ()
    recall: tuple[tuple[float, float], ...] = ()

    def probabilities(self, features: Floats) -> Floats:
        """The probability of each label of a ranking to be right; no label's is above that of a better one.

        Args:
            features: What `features` gives, shape (labels, features).

        Returns:
            Shape (labels,), in (0, 1), falling.
        """
        standard = (features - np.array(self.center)) / np.array(self.scale)
        odds = standard @ np.array(self.weights) + self.intercept
        return np.minimum.accumulate(1 / (1 + np.exp(-np.clip(odds, -30, 30))))


def features(ranking: Sequence[RankedLabel], candidates: Sequence[Candidate]) -> Floats:
    """What calibration knows of each label of a ranking.

    Args:
        ranking: A text's labels, best first.
        candidates: Its candidates, in any order.

    Returns:
        Shape (labels, 4): the score, its distance to the best, the logarithm of the rank, and what the ranker
        added to the score of retrieval.
    """
    retrieved = {candidate.label.id: candidate.score for candidate in candidates}
    scores = np.array([label.score for label in ranking], float)
    added = scores - np.array([retrieved[label.id] for label in ranking], float)
    return np.column_stack([scores, scores[:1] - scores, np.log1p(np.arange(len(scores))), added])


def fit(rankings: Sequence[Ranked], program: str) -> Calibration:
    """Fits the curve and the cut-offs on texts with gold.

    The cut-offs rest on probabilities from curves that did not see the text: five-fold cross-fitting.

    Args:
        rankings: Of the texts; a text's own example must not have spoken for it.
        program: Digest of the program that made them.
    """
    rankings = [ranked for ranked in rankings if ranked.gold and len(ranked.features)]
    curve = _curve(rankings, program)
    fold = np.random.default_rng(0).permutation(len(rankings)) % _FOLDS
    fitted = [
        _curve([r for r, f in zip(rankings, fold, strict=True) if f != held], program)
        for held in range(_FOLDS)
    ]
    found = [fitted[f].probabilities(r.features) for r, f in zip(rankings, fold, strict=True)]
    width = max(map(len, found))
    probability = np.array([np.pad(p, (0, width - len(p)), constant_values=-1.0) for p in found])
    right = np.array([np.pad(r.right, (0, width - len(r.right))) for r in rankings])
    gold = np.array([ranked.gold for ranked in rankings])
    precision = [(p, precision_cut_off(probability, right, p)) for p in _PROMISES]
    recall = [(p, recall_cut_off(probability, right, gold, p)) for p in _PROMISES]
    return curve.model_copy(
        update={
            "precision": tuple((p, cut_off) for p, cut_off in precision if cut_off is not None),
            "recall": tuple((p, cut_off) for p, cut_off in recall if cut_off is not None),
        }
    )


def _curve(rankings: Sequence[Ranked], program: str) -> Calibration:
    from sklearn.linear_model import LogisticRegression

    x = np.concatenate([ranked.features[:DEPTH] for ranked in rankings])
    y = np.concatenate([ranked.right[:DEPTH] for ranked in rankings])
    center, scale = x.mean(axis=0), x.std(axis=0)
    # A feature that never varies says nothing, and stays out.
    scale[scale < 1e-9] = np.inf
    curve = LogisticRegression(C=1 / _PENALTY, max_iter=1_000).fit((x - center) / scale, y)
    return Calibration(
        program=program,
        texts=len(rankings),
        center=tuple(center),
        scale=tuple(np.where(np.isinf(scale), 1e300, scale)),
        weights=tuple(curve.coef_[0]),
        intercept=float(curve.intercept_[0]),
    )
