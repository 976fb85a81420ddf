"""Fits the combination of features to examples, with a given combination as the prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irr.retrieve.features import FEATURES, SCALE, Combination, Features, length_share
from irr.statistics import lower_bound

Values = NDArray[np.float64]

# With fewer examples the weights stay as they are.
FEWEST = 30
_STRENGTHS = (10.0, 100.0, 1_000.0)
_FOLDS = 5
_DEPTH = 10
_ITERATIONS = 15
_NAMES = tuple(FEATURES)


@dataclass(frozen=True)
class Judged:
    """The features of a text's labels, and which labels are gold.

    Attributes:
        features: The features of the proposed labels.
        right: Whether each of them is gold, shape (labels,).
        gold: The number of gold labels, proposed or not.
    """

    features: Features
    right: NDArray[np.bool_]
    gold: int

    def rank_precision(self, combination: Combination, depth: int = _DEPTH) -> float:
        """RP@k of the labels by this combination, k being the depth."""
        order = np.argsort(-combination.scores(self.features), kind="stable")[:depth]
        return float(self.right[order].sum()) / min(depth, self.gold)


@dataclass(frozen=True)
class Fitted:
    """A fitted combination, and its scores on examples held out of the fit.

    Attributes:
        combination: Fitted to all examples.
        strength: The strength of the prior.
        before: RP@10 of each example by the prior, shape (examples,).
        after: RP@10 of each example by a combination fitted without it.
    """

    combination: Combination
    strength: float
    before: Values
    after: Values

    @property
    def pays(self) -> bool:
        """Whether the gain on held-out examples is beyond luck."""
        return lower_bound(self.after - self.before) > 0


def fit_by_cross_validation(texts: Sequence[Judged], start: Combination, seed: int) -> Fitted | None:
    """Fits a combination with the strength that scores best on held-out examples; None with too few.

    Args:
        texts: The examples.
        start: The prior.
        seed: The seed of the folds.
    """
    usable = [text for text in texts if text.right.any()]
    if len(usable) < FEWEST:
        return None
    before = np.array([text.rank_precision(start) for text in usable])
    tried: list[tuple[float, float, Values]] = []
    for strength in _STRENGTHS:
        after = cross_validated(usable, start, strength, seed)
        tried.append((float(after.mean()), strength, after))
    # Of equal strengths the highest, which stays nearest to the prior.
    _, strength, after = max(tried, key=lambda item: item[:2])
    return Fitted(fit(usable, start, strength), strength, before, after)


def cross_validated(
    texts: Sequence[Judged], start: Combination, strength: float, seed: int, depth: int = _DEPTH
) -> Values:
    """RP@k of each text by a combination fitted without its fold, shape (texts,).

    Args:
        texts: The examples.
        start: The prior.
        strength: The strength of the prior.
        seed: The seed of the folds.
        depth: The k.
    """
    fold = np.random.default_rng(seed).permutation(len(texts)) % _FOLDS
    values = np.empty(len(texts))
    for held in range(_FOLDS):
        rest = [text for text, own in zip(texts, fold, strict=True) if own != held]
        found = fit(rest, start, strength)
        for at in np.flatnonzero(fold == held).tolist():
            values[at] = texts[at].rank_precision(found, depth)
    return values


def fit(texts: Sequence[Judged], start: Combination, strength: float) -> Combination:
    """The weights that minimize

        sum over texts t: mean over gold l of -ln softmax(SCALE · score)(l)
        + 1/2 · strength · |w - start|^2

    with w in standard deviations of the features: the listwise loss of ListNet (Cao et al. 2007) with a
    Gaussian prior, minimized by Newton's method.

    Args:
        texts: Examples; those without a gold label among the proposed are ignored.
        start: The prior.
        strength: The strength of the prior.
    """
    texts = [text for text in texts if text.right.any()]
    width = len(_NAMES)
    values = np.concatenate([text.features.values for text in texts]).astype(np.float64)
    # A feature that never varies keeps its weight.
    deviation = np.tile(values.std(axis=0) + 1e-3, 2)
    counts = [len(text.right) for text in texts]
    shares = np.repeat([length_share(text.features.passages) for text in texts], counts)[:, None]
    rows = np.concatenate([values * (1 - shares), values * shares], axis=1) / deviation
    target = np.concatenate([text.right / text.right.sum() for text in texts])
    prior = _flat(start) * SCALE * deviation
    starts = np.cumsum([0, *counts[:-1]])
    found = _Listwise(rows, target, starts, prior, strength).minimum() / deviation / SCALE
    short_weights, long_weights = (
        {name: round(float(w), 6) for name, w in zip(_NAMES, part, strict=True) if abs(w) >= 5e-7}
        for part in (found[:width], found[width:])
    )
    return Combination(short=short_weights, long=long_weights)


def _flat(combination: Combination) -> Values:
    parts = (combination.short, combination.long)
    return np.array([part.get(name, 0.0) for part in parts for name in _NAMES])


@dataclass(frozen=True)
class _Listwise:
    """The loss of `fit` over the rows of all texts, text by text.

    Attributes:
        rows: Shape (rows, weights).
        target: The share of each row in its text's gold, shape (rows,).
        starts: The first row of each text, shape (texts,).
        prior: The prior, shape (weights,).
        strength: The strength of the prior.
    """

    rows: Values
    target: Values
    starts: NDArray[np.int64]
    prior: Values
    strength: float

    def minimum(self) -> Values:
        """The weights with the lowest loss, by Newton's method with a line search."""
        weights = self.prior
        value, probability = self._at(weights)
        for _ in range(_ITERATIONS):
            gradient = self.rows.T @ (probability - self.target)
            gradient += self.strength * (weights - self.prior)
            mean = np.add.reduceat(self.rows * probability[:, None], self.starts)
            curvature = (self.rows * probability[:, None]).T @ self.rows - mean.T @ mean
            step = np.linalg.solve(curvature + self.strength * np.eye(len(weights)), gradient)
            length = 1.0
            while length > 1e-3:
                lower, probability = self._at(weights - length * step)
                if lower < value:
                    break
                length /= 2
            else:
                break
            weights = weights - length * step
            if value - lower < 1e-5 * max(1.0, abs(value)):
                break
            value = lower
        return weights

    def _at(self, weights: Values) -> tuple[float, Values]:
        """The loss, and the softmax of each text."""
        counts = np.diff([*self.starts, len(self.rows)])
        logits = self.rows @ weights
        highest = np.maximum.reduceat(logits, self.starts)
        raised = np.exp(logits - np.repeat(highest, counts))
        total = np.add.reduceat(raised, self.starts)
        likelihood = (np.log(total) + highest).sum() - (self.target * logits).sum()
        penalty = 0.5 * self.strength * ((weights - self.prior) ** 2).sum()
        return float(likelihood + penalty), raised / np.repeat(total, counts)
