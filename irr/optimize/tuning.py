"""Tunes hyperparameters and the weights of the features without a language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from irr.config import HYPERPARAMETERS
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.lm.cache import Budget
from irr.optimize.combining import fit_by_cross_validation
from irr.optimize.scorer import Plan, Scorer, Trial, Values, scored
from irr.statistics import lower_bound
from irr.types import EntryKind

# The most passes over all hyperparameters.
_PASSES = 2


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
