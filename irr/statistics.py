"""Statistics over texts: bootstrap intervals, paired differences, confidence bounds, and logistic curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

# Texts that are drawn together, so that memory stays bounded.
_DRAWN = 2**16
_FOLDS = 5
# A smaller gain can come from two or three texts, and did not carry over from one set to another.
_STANDARD_ERRORS = 2.0


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


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
    """sum(hits) / sum(counts) with its 95 % bootstrap interval over texts; at least one count is above 0."""
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
    ours: Sequence[float] | Floats, theirs: Sequence[float] | Floats, seed: int = 0, resamples: int = 10_000
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


def estimate(values: Sequence[float] | Floats, seed: int = 0, resamples: int = 2000) -> Estimate:
    """The mean over texts with its 95 % percentile bootstrap interval (Efron 1979), seeded."""
    array = np.asarray(values, dtype=float)
    low, high = interval(_means(array, seed, resamples))
    return Estimate(mean=float(array.mean()), low=low, high=high)


def _means(values: Floats, seed: int, resamples: int) -> Floats:
    """The mean of each resample, shape (resamples,)."""
    return np.concatenate([values[drawn].mean(axis=1) for drawn in resampled(len(values), seed, resamples)])


def resampled(texts: int, seed: int, count: int) -> Iterator[Ints]:
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


def interval(values: Sequence[float] | Floats) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic of resamples, shape (count,)."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def lower_bound(differences: Floats) -> float:
    """The mean of paired differences, shape (texts,), less two standard errors."""
    error = float(differences.std(ddof=1)) / np.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return float(differences.mean()) - _STANDARD_ERRORS * float(error)


def precision_bound(right: Ints, returned: Ints, confidence: float = 0.95) -> float:
    """Lower confidence bound of the share of right labels, where labels of one text stand and fall together.

    The Clopper-Pearson bound at the effective sample size. `right` and `returned` are the right and the
    returned labels of each text, shape (texts,).
    """
    from scipy.special import betaincinv

    share, size = effective_sample(right, returned)
    if not share:
        return 0.0
    return float(betaincinv(share * size, (1 - share) * size + 1, 1 - confidence))


def effective_sample(right: Ints, returned: Ints) -> tuple[float, float]:
    """The share of right labels, and how many independent labels would tell as much of it.

    The effective sample size (Korn & Graubard 1998, Survey Methodology 24): the number of labels divided by
    the design effect, which is estimated from the spread over texts and lies between 1 (labels are
    independent) and the ratio of the sums of n² and n (all labels of a text agree).
    """
    total, hits = float(returned.sum()), float(right.sum())
    if not hits:
        return 0.0, total
    share = hits / total
    most = float((returned**2).sum()) / total
    spread = float(((right - share * returned) ** 2).sum()) / total
    # Without a mistake there is no spread to estimate from.
    effect = np.clip(spread / (share * (1 - share)), 1.0, most) if share < 1 else most
    return share, float(total / effect)


def calibration_error(probability: Floats, right: Bools | Floats, bins: int = 10) -> float:
    """Expected calibration error: the mean over bins of equal mass of |mean probability - share right|."""
    order = np.argsort(probability, kind="stable")
    gaps = probability[order] - right[order]
    return float(sum(abs(part.sum()) for part in np.array_split(gaps, bins)) / max(len(gaps), 1))


class LogisticCurve(BaseModel):
    """A logistic curve over features, which are standardized by their means and deviations.

    The intercept is the log-odds where all features are at their means.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    center: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    @classmethod
    def fit(
        cls,
        values: Floats,
        target: Bools,
        weight: Floats | None = None,
        supporting: Sequence[Sequence[int]] = (),
    ) -> LogisticCurve:
        """Fits a curve with an L2 penalty of 1 on the weights of standardized features.

        Args:
            values: The features, shape (rows, features).
            target: Shape (rows,), with both values.
            weight: Sampling weights, shape (rows,).
            supporting: Groups of columns that may speak for the target, never against it: a group whose last
                column gets a negative weight is left out. With one example per label, leave-one-out makes
                "no other text has it" predict a right label.
        """
        from sklearn.linear_model import LogisticRegression

        center, scale = standardization(values)
        used = np.ones(values.shape[1])
        while True:
            curve = LogisticRegression(C=1.0, max_iter=2_000)
            curve.fit((values - center) / scale * used, target, sample_weight=weight)
            weights = curve.coef_[0] * used
            against = [column for group in supporting if weights[group[-1]] < 0 for column in group]
            if not against:
                break
            used[against] = 0.0
        intercept = float(curve.intercept_[0])
        return cls(center=tuple(center), scale=tuple(scale), weights=tuple(weights), intercept=intercept)

    def probabilities(self, values: Floats) -> Floats:
        """The probability of each row, shape (rows,), in (0, 1); `values` has the shape (rows, features)."""
        standard = (values - np.array(self.center)) / np.array(self.scale)
        odds = standard @ np.array(self.weights) + self.intercept
        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -30, 30))))


def standardization(values: Floats) -> tuple[Floats, Floats]:
    """Means and standard deviations of columns, each of shape (columns,); 1 for one that never varies."""
    center, scale = values.mean(axis=0), values.std(axis=0)
    return center, np.where(scale < 1e-9, 1.0, scale)


def cross_fitted(
    values: Floats,
    target: Bools,
    group: Ints,
    groups: int,
    weight: Floats | None = None,
    supporting: Sequence[Sequence[int]] = (),
    seed: int = 0,
) -> Floats:
    """The probability of each row by a curve that did not see its group: five-fold cross-fitting.

    Args are those of `LogisticCurve.fit`, and the number of each row's group, shape (rows,), as of its text.

    Raises:
        ValueError: If the rows of a fit have one target only.
    """
    fold = (np.random.default_rng(seed).permutation(groups) % _FOLDS)[group]
    probability = np.zeros(len(values))
    for held in range(_FOLDS):
        rest, own = fold != held, fold == held
        if own.any():
            weights = None if weight is None else weight[rest]
            curve = LogisticCurve.fit(values[rest], target[rest], weights, supporting)
            probability[own] = curve.probabilities(values[own])
    return probability
