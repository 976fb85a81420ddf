"""Noise: how probable it is that a gold label is wrong, or that one is missing, as functions of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irr.workbench.audit.slots import Slots

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_FOLDS = 5
_PENALTY = 1.0
_TINY = 1e-9
# The share of given labels that are taken to be wrong, and of right ones to be missing.
_ERRING = 0.05


class Noise(NamedTuple):
    """What is wrong with gold.

    Attributes:
        suspicion: How probable it is that a slot's gold is wrong: a label that is given and does not belong
            there, or one that is not given and does; shape (slots,).
        added: The probability that a label that does not belong to a text is given.
        dropped: The probability that a label that belongs to a text is not given.
    """

    suspicion: Floats
    added: float
    dropped: float


def cross_fitted(slots: Slots, texts: int, seed: int = 0) -> Floats:
    """How probable it is that a label is given, by logistic curves that did not see the text.

    Args:
        slots: The slots.
        texts: How many texts there are.
        seed: Of the five folds.

    Returns:
        Shape (slots,).
    """
    fold = (np.random.default_rng(seed).permutation(texts) % _FOLDS)[slots.text]
    probability = np.zeros(len(slots.text))
    for held in range(_FOLDS):
        rest, own = fold != held, fold == held
        if not own.any():
            continue
        probability[own] = _fitted(slots, rest)(slots.values[own])
    return probability


def _fitted(slots: Slots, rows: Bools) -> Callable[[Floats], Floats]:
    """The curve of some slots; what other texts say counts for a label or not at all, never against it."""
    from sklearn.linear_model import LogisticRegression

    values, counts = slots.values[rows], np.ones(slots.values.shape[1])
    center, scale = values.mean(axis=0), values.std(axis=0)
    scale = np.where(scale < 1e-9, 1.0, scale)
    while True:
        curve = LogisticRegression(C=1 / _PENALTY, max_iter=2_000)
        curve.fit((values - center) / scale * counts, slots.given[rows], sample_weight=slots.weight[rows])
        # Where most labels have one text, leaving that out makes right labels the ones without any.
        against = (curve.coef_[0] < 0) & slots.from_others & (counts > 0)
        if not against.any():
            break
        counts[against] = 0.0

    def probability(of: Floats) -> Floats:
        found: Floats = curve.predict_proba((of - center) / scale * counts)[:, 1]
        return found

    return probability


def estimate_noise(probability: Floats, given: Bools, weight: Floats) -> Noise:
    """Tells noise from what is right, by Bayes' rule.

    Labels that belong to a text are given unless they were dropped; others are not unless they were added.
    The two rates are those under which a twentieth of the given labels are wrong, and as many are missing.
    Where more labels are given in the lower half of all pairs, in which no label belongs, that rate counts.

    Args:
        probability: That a label is given, by the evidence, shape (slots,).
        given: Whether it is.
        weight: How many pairs of text and label each slot stands for.
    """
    p = np.clip(probability, _TINY, 1 - _TINY)
    order = np.argsort(p, kind="stable")
    lower = order[np.cumsum(weight[order]) <= weight.sum() / 2]
    # As if one more had been seen, so that the rate is never 0.
    least = float(((weight * given)[lower].sum() + 1) / (weight[lower].sum() + 1))

    def wrong(added: float) -> Floats:
        return (1 - p) * added / (p * (1 - _ERRING) + (1 - p) * added)

    def missing(dropped: float) -> Floats:
        return p * dropped / (p * dropped + 1 - p)

    expected = _ERRING * given.sum()
    added = max(least, _rate(lambda rate: float(wrong(rate)[given].sum()), expected))
    dropped = _rate(lambda rate: float((weight * missing(rate))[~given].sum()), expected)
    return Noise(np.where(given, wrong(added), missing(dropped)), added, dropped)


def _rate(errors: Callable[[float], float], expected: float) -> float:
    """The rate that explains so many errors, by bisection; more errors need a higher rate."""
    low, high = _TINY, 0.5
    for _ in range(50):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if errors(middle) < expected else (low, middle)
    return high
