"""Tunes what needs no language model: hyperparameters, one at a time, and the weights of the features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from irr.config import HYPERPARAMETERS
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.optimize.budget import Budget
from irr.optimize.combining import fit_by_cross_validation
from irr.optimize.scorer import Plan, Scorer, Trial, Values, scored
from irr.types import EntryKind

_PASSES = 2
# A change has to gain this many standard errors of the paired difference: less can come from two or three
# texts, and did not carry over from one set to another.
_STANDARD_ERRORS = 2.0


def tune(
    scorer: Scorer,
    plan: Plan,
    rows: Sequence[GoldRow],
    budget: Budget,
    on_trial: Callable[[Trial, int], None],
    passes: int = _PASSES,
) -> Plan:
    """Returns the plan with the hyperparameters that serve `rows` best, by RP@10.

    Args:
        scorer: Scores plans.
        plan: Where to start.
        rows: Examples with gold.
        budget: Says when to stop.
        on_trial: Told of each trial, and of how many there may be.
        passes: how often all are gone through, if the one before changed any.
    """
    grid = {name: HYPERPARAMETERS[name] for name in _applicable(scorer.index.space, plan, scorer)}
    most = 1 + passes * sum(len(options) - 1 for options in grid.values())
    start, values = plan, scorer.values(plan, rows, quick=True)
    on_trial(scored("tuning", "as given", "rp@10", values, 0), most)
    unchanged = 0
    for name in [*grid] * passes:
        tried: list[tuple[float, Plan, Values]] = []
        for option in grid[name]:
            if option == plan.settings.flat()[name] or budget.reason:
                continue
            other = plan.set({name: option})
            others = scorer.values(other, rows, quick=True)
            on_trial(scored("tuning", f"{name}={option:g}", "rp@10", others, 0), most)
            tried.append((gain_beyond_luck(others - values), other, others))
        gain, other, others = max(tried, key=lambda item: item[0], default=(0.0, plan, values))
        if gain > 0:
            plan, values, unchanged = other, others, 0
        else:
            unchanged += 1
        if unchanged >= len(grid) or budget.reason:
            break
    if plan == start:
        return start
    # What was measured quickly has to hold when it is measured in full.
    return plan if scorer.values(plan, rows).mean() > scorer.values(start, rows).mean() else start


def combine(
    scorer: Scorer, plan: Plan, rows: Sequence[GoldRow], seed: int, on_trial: Callable[[Trial, int], None]
) -> Plan:
    """Returns the plan with weights fitted to `rows`, if they pay on rows held out of the fit.

    Args:
        scorer: Computes features.
        plan: Where to start.
        rows: Examples with gold labels.
        seed: Of the folds.
        on_trial: Told of the cross-validated scores.
    """
    fitted = fit_by_cross_validation(scorer.judged(plan, rows), plan.combination, seed)
    if fitted is None:
        return plan
    on_trial(scored("combining", "weights as given", "rp@10", fitted.before, 0), 2)
    on_trial(scored("combining", f"fitted, strength={fitted.strength:g}", "rp@10", fitted.after, 0), 2)
    return replace(plan, combination=fitted.combination) if fitted.pays else plan


def gain_beyond_luck(difference: Values) -> float:
    """The mean gain less two standard errors: what luck does not explain."""
    error = float(difference.std(ddof=1)) / np.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return float(difference.mean()) - _STANDARD_ERRORS * float(error)


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
    of_model = {
        "retrieve.term_weight",
        "rank.listwise_weight",
        "rank.pointwise_weight",
        "rank.likelihood_weight",
    }
    return [name for name in HYPERPARAMETERS if name not in of_model and not idle.get(name)]
