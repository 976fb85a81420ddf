"""Fits a calibration on the rankings of texts with gold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irr.calibrate.calibration import Calibration, Curve
from irr.calibrate.features import DEPTH, features, profile
from irr.calibrate.risk_control import precision_promises, recall_promises
from irr.calibrate.scope import UNUSUAL, Scope
from irr.calibrate.selection import typical_text
from irr.errors import UsageError
from irr.text.strings import counted
from irr.types import Trace

Floats = NDArray[np.float64]

# Fewer texts with gold say too little.
FEWEST_TEXTS = 30
_FOLDS = 5
# Strength of the L2 penalty on the weights of standardized features, as scikit-learn's 1 / C.
_PENALTY = 1.0
_ERROR_LABELS = 10
# Of the features, the last ones: what examples say.
_OF_EXAMPLES = 2


class Ranked(NamedTuple):
    """The ranking of a text with gold.

    Attributes:
        features: What speaks for its first labels, shape (labels, features).
        profile: What tells how usual the text is, shape (parts,).
        right: Whether each label is gold, shape (labels,).
        gold: Gold labels of the text, those outside the ranking included.
    """

    features: Floats
    profile: Floats
    right: NDArray[np.bool_]
    gold: int


def ranked(trace: Trace, gold: Sequence[str]) -> Ranked:
    """The ranking of a text, from its trace, and its gold."""
    labels, wanted = trace.ranking[:DEPTH], set(gold)
    right = np.array([label.id in wanted for label in labels], bool)
    return Ranked(features(labels, trace.candidates), profile(trace.candidates), right, len(wanted))


def fit(rankings: Sequence[Ranked], program: str) -> Calibration:
    """Fits the curve, the scope and the promises.

    The promises rest on probabilities from curves that did not see the text: five-fold cross-fitting.

    Args:
        rankings: Of the texts; a text's own example must not have spoken for it.
        program: Digest of the rankings of the program that made them.

    Raises:
        UsageError: If there are too few, or no label is right, or all are.
    """
    rankings = [one for one in rankings if one.gold and len(one.features)]
    if len(rankings) < FEWEST_TEXTS:
        problem = f"{counted(len(rankings), 'text')} with gold: too few to calibrate on"
        raise UsageError(problem, f"give at least {FEWEST_TEXTS}, better 100")
    scope = Scope.fit(np.array([one.profile for one in rankings]))
    probability = padded(_cross_fitted(rankings), -1.0)
    right = padded([one.right for one in rankings], False).astype(bool)
    gold = np.array([one.gold for one in rankings])
    usual = np.array([scope.p_value(one.profile) > UNUSUAL for one in rankings])
    first = slice(None), slice(_ERROR_LABELS)
    there = probability[first] >= 0
    missed = float((gold - right.sum(axis=1)).mean())
    return Calibration(
        program=program,
        texts=len(rankings),
        error=calibration_error(probability[first][there], right[first][there]),
        missed=missed,
        typical=typical_text(probability[probability >= 0], len(rankings), missed),
        curve=_curve(rankings),
        scope=scope,
        precision=precision_promises(np.where(usual[:, None], probability, -1.0), right),
        recall=recall_promises(probability, right, gold),
    )


def calibration_error(probability: Floats, right: NDArray[np.bool_] | Floats, bins: int = 10) -> float:
    """Expected calibration error: the mean over bins of equal mass of |mean probability - share right|.

    Args:
        probability: Shape (labels,).
        right: Shape (labels,).
        bins: How many.
    """
    order = np.argsort(probability, kind="stable")
    gaps = probability[order] - right[order]
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, bins)) / max(len(gaps), 1))


def padded(rows: Sequence[NDArray[np.generic]], value: float) -> Floats:
    """Rows of different lengths as one array, shape (rows, longest)."""
    width = max(map(len, rows), default=0)
    return np.array([np.pad(row.astype(float), (0, width - len(row)), constant_values=value) for row in rows])


def _cross_fitted(rankings: Sequence[Ranked]) -> list[Floats]:
    fold = np.random.default_rng(0).permutation(len(rankings)) % _FOLDS
    curves = [
        _curve([one for one, of in zip(rankings, fold, strict=True) if of != held]) for held in range(_FOLDS)
    ]
    return [curves[of].probabilities(one.features) for one, of in zip(rankings, fold, strict=True)]


def _curve(rankings: Sequence[Ranked]) -> Curve:
    from sklearn.linear_model import LogisticRegression

    x = np.concatenate([one.features for one in rankings])
    y = np.concatenate([one.right for one in rankings])
    if y.all() or not y.any():
        problem = f"{'all' if y.all() else 'none'} of the labels that the program ranks are right"
        raise UsageError(problem, "check that texts and gold belong to these labels, or give more of them")
    center, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale < 1e-9, 1.0, scale)
    curve = LogisticRegression(C=1 / _PENALTY, max_iter=1_000).fit((x - center) / scale, y)
    if curve.coef_[0, -1] < 0:
        # Where most labels have one example, leaving that out makes right labels the ones without any.
        heard = np.arange(x.shape[1]) < x.shape[1] - _OF_EXAMPLES
        return _curve([one._replace(features=one.features * heard) for one in rankings])
    return Curve(
        center=tuple(center),
        scale=tuple(scale),
        weights=tuple(curve.coef_[0]),
        intercept=float(curve.intercept_[0]),
    )
