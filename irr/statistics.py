"""Statistics of means over texts: bootstrap intervals, paired differences, and gains beyond chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

# Texts that are drawn together, so that memory stays bounded.
_DRAWN = 2**16
# A smaller gain can come from two or three texts, and did not carry over from one set to another.
_STANDARD_ERRORS = 2.0
_FOLDS = 5


class Estimate(BaseModel):
    """A mean over texts and its 95 % bootstrap interval."""

    model_config = ConfigDict(frozen=True)

    mean: float
    low: float
    high: float

    def percent(self) -> str:
        """The estimate in percent, as in 67.2 (62.1 – 72.3)."""
        return f"{100 * self.mean:.1f} ({100 * self.low:.1f} – {100 * self.high:.1f})"


def ratio(hits: Sequence[float], counts: Sequence[float], seed: int = 0, resamples: int = 2000) -> Estimate:
    """sum(hits) / sum(counts) with its 95 % bootstrap interval over texts.

    Args:
        hits: The numerator, by text.
        counts: The denominator, by text; at least one is above 0.
        seed: The seed of the resampling.
        resamples: The number of resamples.
    """
    pairs = np.array([hits, counts], dtype=float)
    pairs = pairs[:, pairs[1] > 0]
    sums = [pairs[:, drawn].sum(axis=2) for drawn in resampled(pairs.shape[1], seed, resamples)]
    found, there = np.concatenate(sums, axis=1)
    low, high = interval(found / there)
    return Estimate(mean=float(pairs[0].sum() / pairs[1].sum()), low=low, high=high)


class Difference(Estimate):
    """The mean difference of two evaluations on the same texts, and its interval.

    Attributes:
        p: The two-sided p-value.
    """

    p: float

    def percent(self) -> str:
        """The difference in points, as in +1.2 (-0.3 – +2.7), p 0.110."""
        p = f"p {self.p:.3f}" if self.p >= 0.001 else "p < 0.001"
        return f"{100 * self.mean:+.1f} ({100 * self.low:+.1f} – {100 * self.high:+.1f}), {p}"


def paired_bootstrap(
    ours: Sequence[float], theirs: Sequence[float], seed: int = 0, resamples: int = 10_000
) -> Difference:
    """Compares two evaluations by a seeded paired bootstrap over texts (Efron & Tibshirani 1993, ch. 16).

    The p-value is the share of resamples whose mean is at least as far from the observed mean as that is
    from 0, as it would be with the same spread and no difference: (1 + their count) / (1 + resamples).

    Raises:
        ValueError: If they are not of equal length, or empty.
    """
    differences = np.subtract(ours, theirs, dtype=float)
    means = _means(differences, seed, resamples)
    mean = float(differences.mean())
    low, high = interval(means)
    # With a tolerance, because rounding may make an equal distance smaller.
    as_far = int((np.abs(means - mean) >= abs(mean) - 1e-12).sum())
    return Difference(mean=mean, low=low, high=high, p=(1 + as_far) / (1 + resamples))


def estimate(values: Sequence[float], seed: int = 0, resamples: int = 2000) -> Estimate:
    """The mean over texts with its 95 % percentile bootstrap interval (Efron 1979), seeded."""
    array = np.asarray(values, dtype=float)
    low, high = interval(_means(array, seed, resamples))
    return Estimate(mean=float(array.mean()), low=low, high=high)


def _means(values: NDArray[np.float64], seed: int, resamples: int) -> NDArray[np.float64]:
    """The mean of each resample, shape (resamples,)."""
    return np.concatenate([values[drawn].mean(axis=1) for drawn in resampled(len(values), seed, resamples)])


def resampled(texts: int, seed: int, count: int) -> Iterator[NDArray[np.int64]]:
    """Bootstrap resamples: `count` times as many texts as there are, by number, drawn with replacement.

    Yields:
        Some of the resamples, one a row, shape (some, texts).

    Raises:
        ValueError: If there are no texts.
    """
    if not texts:
        raise ValueError("no values: no text has gold labels")
    rng = np.random.default_rng(seed)
    step = max(1, _DRAWN // texts)
    return (rng.integers(0, texts, (min(step, count - start), texts)) for start in range(0, count, step))


def interval(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic of resamples, shape (count,)."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def lower_bound(differences: NDArray[np.float64]) -> float:
    """The mean of paired differences, shape (texts,), less two standard errors."""
    error = float(differences.std(ddof=1)) / np.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return float(differences.mean()) - _STANDARD_ERRORS * float(error)


def cross_fitted_probabilities(
    features: NDArray[np.float64],
    target: NDArray[np.bool_],
    group: NDArray[np.int64],
    weight: NDArray[np.float64] | None = None,
    not_negative: Sequence[int] = (),
) -> NDArray[np.float64]:
    """The probability of the target of each row, by logistic curves that did not see the row's group.

    Five-fold cross-fitting on standardized features with an L2 penalty of 1. A feature that must not have a
    negative weight gets the weight 0 instead.

    Args:
        features: Shape (rows, features).
        target: Shape (rows,).
        group: The number of each row's group, from 0; shape (rows,).
        weight: The weight of each row, shape (rows,); equal weights if None.
        not_negative: Columns of features whose weight must not be negative.
    """
    from sklearn.linear_model import LogisticRegression

    weight = np.ones(len(target)) if weight is None else weight
    fold = (np.random.default_rng(0).permutation(int(group.max()) + 1) % _FOLDS)[group]
    probability = np.zeros(len(target))
    for held_out in np.unique(fold):
        rest, own = fold != held_out, fold == held_out
        center, scale = features[rest].mean(axis=0), features[rest].std(axis=0)
        standard = (features - center) / np.where(scale < 1e-9, 1.0, scale)
        while True:
            curve = LogisticRegression(max_iter=2_000)
            curve.fit(standard[rest], target[rest], sample_weight=weight[rest])
            negative = [column for column in not_negative if curve.coef_[0, column] < 0]
            if not negative:
                break
            standard[:, negative] = 0.0  # a column of zeros gets the weight 0
        probability[own] = curve.predict_proba(standard[own])[:, 1]
    return probability
