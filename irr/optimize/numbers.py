"""Tunes what needs no language model: the weights, margins and spans, one number at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from irr.labels import LabelSpace
from irr.optimize.bench import Bench, Plan, Trial, Values, scored
from irr.optimize.budget import Budget
from irr.texts import GoldRow
from irr.types import EntryKind

# What is tried for each number. A margin of 2 takes that kind of entry out.
GRID: Mapping[str, Sequence[float]] = {
    "example_weight": (0.0, 0.1, 0.2, 0.4, 0.8),
    "text_weight": (0.35, 0.5, 0.7, 1.0, 1.4),
    "span_generality": (0.0, 0.2, 0.4),
    "lexical_weight": (0.0, 0.1, 0.2, 0.4),
    "description_margin": (0.0, 0.05, 0.1, 2.0),
    "alias_margin": (0.0, 0.03, 0.06, 0.1, 2.0),
    "prior_weight": (0.0, 1.0, 3.0),
    "span_content_words": (2, 3, 4),
}
_PASSES = 2
# A change has to gain this many standard errors of the paired difference: less can come from two or three
# texts, and did not carry over from one set to another.
_STANDARD_ERRORS = 2.0


def tune(
    bench: Bench,
    plan: Plan,
    rows: Sequence[GoldRow],
    budget: Budget,
    on_trial: Callable[[Trial, int], None],
    passes: int = _PASSES,
) -> Plan:
    """Returns the plan with the numbers that serve `rows` best, by RP@10.

    Args:
        bench: Scores plans.
        plan: Where to start.
        rows: Examples with gold.
        budget: Says when to stop.
        on_trial: Told of each trial, and of how many there may be.
        passes: How often all numbers are gone through, if the one before changed any.
    """
    grid = {name: GRID[name] for name in _applicable(bench.index.space, plan, bench)}
    most = 1 + passes * sum(len(options) - 1 for options in grid.values())
    start, values = plan, bench.values(plan, rows, quick=True)
    on_trial(scored("numbers", "as given", "rp@10", values, 0), most)
    unchanged = 0
    for name in [*grid] * passes:
        tried: list[tuple[float, Plan, Values]] = []
        for option in grid[name]:
            if option == getattr(plan.settings, name) or budget.reason:
                continue
            other = plan.set(**{name: option})
            others = bench.values(other, rows, quick=True)
            on_trial(scored("numbers", f"{name}={option:g}", "rp@10", others, 0), most)
            tried.append((_gain(others - values), other, others))
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
    return plan if bench.values(plan, rows).mean() > bench.values(start, rows).mean() else start


def _gain(difference: Values) -> float:
    """The mean gain beyond what luck explains."""
    error = float(difference.std(ddof=1)) / np.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return float(difference.mean()) - _STANDARD_ERRORS * float(error)


def _applicable(space: LabelSpace, plan: Plan, bench: Bench) -> list[str]:
    fields = plan.settings.fields
    idle = {
        "example_weight": not bench.examples,
        "alias_margin": EntryKind.ALIAS not in fields or not any(label.aliases for label in space),
        "description_margin": EntryKind.DESCRIPTION not in fields
        or not any(label.description for label in space),
        "prior_weight": not any(label.prior for label in space),
    }
    return [name for name in GRID if not idle.get(name)]
