"""Risk control: cut-offs on probabilities that keep a promised precision or recall, as pure functions of arrays.

All functions take the candidates of n texts as two arrays of shape (texts, candidates), each row sorted by
falling probability: `probability`, and `right`, which tells whether a candidate is gold. Short rows are padded
with a probability of -1 and `right` False. `gold` has the number of gold labels of each text, shape (texts,).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

CONFIDENCE = 0.95
# Cut-offs that are tested, from the strictest to the loosest.
_STEPS = 200


def precision_cut_off(
    probability: Floats, right: Bools, target: float, confidence: float = CONFIDENCE
) -> float | None:
    """The lowest probability from which on labels are right at a share of at least `target`; None if unproven.

    Learn then test (Angelopoulos et al. 2021, arXiv 2110.01052) by fixed-sequence testing: cut-offs are tested
    from the strictest to the loosest, up to the first whose lower confidence bound is below the target. The
    sequence starts where the texts return twice as many labels as would have to be right without exception to
    prove the target.

    Args:
        probability: Shape (texts, candidates), rows falling.
        right: Shape (texts, candidates).
        target: The promised share of right labels among those returned, in (0, 1).
        confidence: How sure the promise is, over draws of the gold.
    """
    proven = None
    for cut_off in _sequence(probability, target, confidence):
        returned = probability >= cut_off
        bound = precision_bound((returned & right).sum(axis=1), returned.sum(axis=1), confidence)
        if bound < target:
            break
        proven = cut_off
    return proven


def precision_bound(right: Ints, returned: Ints, confidence: float = CONFIDENCE) -> float:
    """Lower confidence bound of the share of right labels, where labels of one text stand and fall together.

    The Clopper-Pearson bound at the effective sample size (Korn & Graubard 1998, Survey Methodology 24): the
    number of labels divided by the design effect, which is estimated from the spread over texts and lies
    between 1 (labels are independent) and the ratio of the sums of n² and n (all labels of a text agree).

    Args:
        right: Right labels of each text, shape (texts,).
        returned: Returned labels of each text, shape (texts,).
        confidence: Of the bound.
    """
    total, hits = float(returned.sum()), float(right.sum())
    if not hits:
        return 0.0
    share = hits / total
    most = float((returned**2).sum()) / total
    spread = float(((right - share * returned) ** 2).sum()) / total
    # Without a mistake there is no spread to estimate from.
    effect = np.clip(spread / (share * (1 - share)), 1.0, most) if share < 1 else most
    size = total / effect
    return float(beta.ppf(1 - confidence, share * size, (1 - share) * size + 1))


def attainable_precision(probability: Floats, right: Bools, confidence: float = CONFIDENCE) -> float:
    """The highest precision, in steps of a hundredth, that these texts can promise; 0 if none."""
    return next(
        (
            target
            for target in np.arange(0.99, 0.0, -0.01).round(2).tolist()
            if precision_cut_off(probability, right, target, confidence)
        ),
        0.0,
    )


def recall_cut_off(probability: Floats, right: Bools, gold: Ints, target: float) -> float | None:
    """The highest probability above which a share `target` of a text's gold lies, in expectation; or None.

    Conformal control of the false-negative rate (Angelopoulos et al. 2022, arXiv 2208.02814): the highest
    cut-off with (sum of losses + 1) / (texts + 1) <= 1 - target. The promise holds in the mean over texts and
    over draws of the gold. Texts without gold do not count.

    Args:
        probability: Shape (texts, candidates), rows falling.
        right: Shape (texts, candidates).
        gold: Gold labels of each text, those that are no candidates included, shape (texts,).
        target: The promised share, in (0, 1).
    """
    has_gold = gold > 0
    cut_offs, losses = _losses(probability[has_gold], right[has_gold], gold[has_gold])
    kept = np.flatnonzero((losses + 1) / (has_gold.sum() + 1) <= 1 - target + 1e-12)
    return float(cut_offs[kept[0]]) if len(kept) else None


def attainable_recall(probability: Floats, right: Bools, gold: Ints) -> float:
    """The highest recall that these texts can promise; 0 if none."""
    has_gold = gold > 0
    _, losses = _losses(probability[has_gold], right[has_gold], gold[has_gold])
    return max(0.0, 1 - float((losses[-1] + 1) / (has_gold.sum() + 1))) if len(losses) else 0.0


def _sequence(probability: Floats, target: float, confidence: float) -> Floats:
    """Cut-offs to test, falling; they depend on no gold."""
    values = np.sort(probability[probability >= 0])[::-1]
    first = 2 * int(np.ceil(np.log(1 - confidence) / np.log(target)))
    if first >= len(values):
        return np.empty(0)
    steps = np.unique(np.geomspace(first, len(values) - 1, _STEPS).astype(np.int64))
    return values[steps]


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
