"""Tunes hyperparameters and the weights of the features without a language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from irr.config import HYPERPARAMETERS
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.lm.cache import Budget
from irr.optimize.scorer import GoldFeatures, Plan, Scorer, Trial, Values, scored
from irr.retrieve.features import FEATURES, SCALE, Combination, length_share
from irr.statistics import lower_bound
from irr.types import EntryKind

# With fewer examples the weights stay as they are.
FEWEST = 30
_STRENGTHS = (10.0, 100.0, 1_000.0)
_FOLDS = 5
_DEPTH = 10
_NAMES = tuple(FEATURES)
# The most passes over all hyperparameters.
_PASSES = 2


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


def fit_by_cross_validation(texts: Sequence[GoldFeatures], start: Combination, seed: int) -> Fitted | None:
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
    texts: Sequence[GoldFeatures], start: Combination, strength: float, seed: int, depth: int = _DEPTH
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


def fit(texts: Sequence[GoldFeatures], start: Combination, strength: float) -> Combination:
    """The weights that minimize

        sum over texts t: mean over gold l of -ln softmax(SCALE · score)(l)
        + 1/2 · strength · |w - start|^2

    with w in standard deviations of the features: the listwise loss of ListNet (Cao et al. 2007) with a
    Gaussian prior.

    Args:
        texts: Examples; those without a gold label among the proposed are ignored.
        start: The prior.
        strength: The strength of the prior.
    """
    from scipy.optimize import minimize

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

    def loss(weights: Values) -> tuple[float, Values]:
        logits = rows @ weights
        highest = np.maximum.reduceat(logits, starts)
        raised = np.exp(logits - np.repeat(highest, counts))
        total = np.add.reduceat(raised, starts)
        value = (np.log(total) + highest).sum() - (target * logits).sum()
        change = weights - prior
        gradient = rows.T @ (raised / np.repeat(total, counts) - target) + strength * change
        return float(value + 0.5 * strength * (change**2).sum()), gradient

    found = minimize(loss, prior, jac=True, method="L-BFGS-B").x / deviation / SCALE
    short_weights, long_weights = (
        {name: round(float(w), 6) for name, w in zip(_NAMES, part, strict=True) if abs(w) >= 5e-7}
        for part in (found[:width], found[width:])
    )
    return Combination(short=short_weights, long=long_weights)


def _flat(combination: Combination) -> Values:
    parts = (combination.short, combination.long)
    return np.array([part.get(name, 0.0) for part in parts for name in _NAMES])


def tune(
    scorer: Scorer,
    plan: Plan,
    rows: Sequence[GoldRow],
    budget: Budget,
    on_trial: Callable[[Trial, int], None],
) -> Plan:
    """Returns the plan with the hyperparameters that score best on `rows`, by RP@10, tuned one at a time.

    Args:
        scorer: Scores plans.
        plan: The plan to start from.
        rows: Examples with gold.
        budget: Says when to stop.
        on_trial: Called with each trial, and with the most trials there can be.
    """
    grid = {name: HYPERPARAMETERS[name] for name in _applicable(scorer.index.space, plan, scorer)}
    most = 1 + _PASSES * sum(len(options) - 1 for options in grid.values())
    start, values = plan, scorer.values(plan, rows, quick=True)
    on_trial(scored("tuning", "as given", "rp@10", values, 0), most)
    unchanged = 0
    for name in [*grid] * _PASSES:
        tried: list[tuple[float, Plan, Values]] = []
        for option in grid[name]:
            if option == plan.settings.flat()[name] or budget.reason:
                continue
            other = plan.set({name: option})
            others = scorer.values(other, rows, quick=True)
            on_trial(scored("tuning", f"{name}={option:g}", "rp@10", others, 0), most)
            tried.append((lower_bound(others - values), other, others))
        gain, other, others = max(tried, key=lambda item: item[0], default=(0.0, plan, values))
        if gain > 0:
            plan, values, unchanged = other, others, 0
        else:
            unchanged += 1
        if unchanged >= len(grid) or budget.reason:
            break
    if plan == start:
        return start
    # The gain of quick scoring must hold in full scoring.
    return plan if scorer.values(plan, rows).mean() > scorer.values(start, rows).mean() else start


def combine(
    scorer: Scorer, plan: Plan, rows: Sequence[GoldRow], seed: int, on_trial: Callable[[Trial, int], None]
) -> Plan:
    """Returns the plan with weights fitted to `rows`, if they pay on rows held out of the fit.

    Args:
        scorer: Computes features.
        plan: The plan to start from.
        rows: Examples with gold labels.
        seed: The seed of the folds.
        on_trial: Called with the cross-validated scores.
    """
    fitted = fit_by_cross_validation(scorer.judged(plan, rows), plan.combination, seed)
    if fitted is None:
        return plan
    on_trial(scored("combining", "weights as given", "rp@10", fitted.before, 0), 2)
    on_trial(scored("combining", f"fitted, strength={fitted.strength:g}", "rp@10", fitted.after, 0), 2)
    return replace(plan, combination=fitted.combination) if fitted.pays else plan


def _applicable(space: LabelSpace, plan: Plan, scorer: Scorer) -> list[str]:
    fields = plan.settings.retrieve.fields
    idle = {
        "retrieve.example_weight": not scorer.examples,
        "retrieve.alias_margin": EntryKind.ALIAS not in fields or not any(label.aliases for label in space),
        "retrieve.description_margin": EntryKind.DESCRIPTION not in fields
        or not any(label.description for label in space),
        "retrieve.parent_share": not any(label.parents for label in space),
        "retrieve.prior_weight": not any(label.prior for label in space),
    }
    of_model = {"retrieve.term_weight", "rank.listwise_weight", "rank.pointwise_weight"}
    return [name for name in HYPERPARAMETERS if name not in of_model and not idle.get(name)]
