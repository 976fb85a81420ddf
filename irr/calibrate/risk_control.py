"""Risk control: cut-offs on probabilities that keep a promised precision or recall, as functions of arrays.

All functions take the candidates of n texts as two arrays of shape (texts, candidates): `probability`, and
`right`, which tells whether a candidate is gold. Short rows are padded with a probability of -1 and `right`
False. A text that is abstained from has -1 throughout. `gold` has the number of gold labels of each text, of
shape (texts,). A table of promises has pairs of a promise and the cut-off that keeps it, promises ascending;
what is not in it cannot be promised.
"""

from __future__ import annotations

import math

import numpy as np

from irr.statistics import Bools, Floats, Ints, effective_sample

Promises = tuple[tuple[float, float], ...]

# The confidence of the guarantees, over draws of gold and of further texts.
CONFIDENCE = 0.99
_TARGETS = tuple(round(0.01 * i, 2) for i in range(1, 100))
# Cut-offs that are tested, from the strictest to the loosest.
_STEPS = 200
# Where testing starts, in labels that would prove the target if all were right.
_AMPLE = 3


def precision_promises(probability: Floats, right: Bools, confidence: float = CONFIDENCE) -> Promises:
    """For each precision that these texts prove of as many further ones, the lowest probability that has it.

    Learn then test (Angelopoulos et al. 2021, arXiv 2110.01052) by fixed-sequence testing: cut-offs are
    tested from the strictest to the loosest, up to the first whose lower bound is below the target. The
    sequence starts where the texts return three times as many labels as would have to be right without
    exception to prove the target: with fewer, luck makes promises that the next texts break.

    Args:
        probability: Shape (texts, candidates).
        right: Shape (texts, candidates).
        confidence: How sure each promise is, over draws of the gold and of the further texts.
    """
    values = np.sort(probability[probability >= 0])[::-1]
    if not len(values):
        return ()
    counts = np.unique(np.geomspace(1, len(values), _STEPS).astype(np.int64))
    returned = [probability >= values[count - 1] for count in counts]
    bounds = np.array([next_bound((r & right).sum(axis=1), r.sum(axis=1), confidence) for r in returned])
    faultless = np.array([_next_bound(1.0, float(count), confidence) for count in counts // _AMPLE])
    promises = []
    for target in _TARGETS:
        start = int(np.searchsorted(faultless, target))
        failed = np.flatnonzero(bounds[start:] < target)
        end = start + int(failed[0]) if len(failed) else len(counts)
        if end > start:
            promises.append((target, float(values[counts[end - 1] - 1])))
    return tuple(promises)


def next_bound(right: Ints, returned: Ints, confidence: float = CONFIDENCE) -> float:
    """Lower prediction bound of the share of right labels among those of as many further texts.

    Args:
        right: Right labels of each text, shape (texts,).
        returned: Returned labels of each text, shape (texts,).
        confidence: Of the bound.
    """
    return _next_bound(*effective_sample(right, returned), confidence)


def _next_bound(share: float, size: float, confidence: float) -> float:
    """The prediction bound for the next `size` independent labels after as many, of which `share` are right.

    Thatcher's bound (1964, J. R. Stat. Soc. B 26), which holds for every pool that both are drawn from
    without replacement: a quantile of the beta-binomial distribution of the next labels' right ones. It is
    taken from the beta distribution with the same mean and variance, and rounded down to whole labels.
    """
    from scipy.special import betaincinv

    mean, spread = share * size / (size + 1), (size + 2) * size / (2 * size + 1) - 1
    if mean <= 0 or spread <= 0:
        return 0.0
    bound = float(betaincinv(mean * spread, (1 - mean) * spread, 1 - confidence))
    return math.floor(bound * size + 1e-9) / size


def recall_promises(probability: Floats, right: Bools, gold: Ints) -> Promises:
    """For each recall that these texts allow, the highest probability above which so much gold lies.

    Conformal control of the false-negative rate (Angelopoulos et al. 2022, arXiv 2208.02814): the highest
    cut-off with (sum of losses + 1) / (texts + 1) <= 1 - target. The promise holds in the mean over texts and
    over draws of the gold. Texts without gold do not count.

    Args:
        probability: Shape (texts, candidates).
        right: Shape (texts, candidates).
        gold: Gold labels of each text, those that are no candidates included, shape (texts,).
    """
    known = gold > 0
    cut_offs, losses = _losses(probability[known], right[known], gold[known])
    risk = (losses + 1) / (known.sum() + 1)
    promises = []
    for target in _TARGETS:
        kept = np.flatnonzero(risk <= 1 - target + 1e-12)
        if len(kept):
            promises.append((target, float(cut_offs[kept[0]])))
    return tuple(promises)


def cut_off(promises: Promises, target: float) -> float | None:
    """The cut-off of the least promise that is no less than `target`; None if there is none."""
    return next((value for promise, value in promises if promise >= target - 1e-9), None)


def _losses(probability: Floats, right: Bools, gold: Ints) -> tuple[Floats, Floats]:
    """Cut-offs, falling, and the sum over texts of the share of gold that each misses."""
    hits = right & (probability >= 0)
    values = probability[hits]
    gains = np.broadcast_to(1 / gold[:, None], probability.shape)[hits]
    order = np.argsort(-values, kind="stable")
    cut_offs, gains = values[order], gains[order]
    total = float(len(gold)) - np.cumsum(gains)
    # Of equal cut-offs the last has the whole sum.
    last = np.append(cut_offs[1:] != cut_offs[:-1], True) if len(cut_offs) else np.zeros(0, bool)
    return cut_offs[last], total[last]
