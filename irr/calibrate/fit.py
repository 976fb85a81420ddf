"""Fits a calibration on the rankings of texts with gold, and the promises that they prove.

Promises are functions of the candidates of n texts as two arrays of shape (texts, candidates): `probability`,
and `right`, which tells whether a candidate is gold. Short rows are padded with a probability of -1 and
`right` False. A text that is abstained from has -1 throughout. `gold` has the number of gold labels of each
text, of shape (texts,), those that are no candidates included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from irr.calibrate.calibration import (
    DEPTH,
    UNUSUAL,
    Calibration,
    Promises,
    Scope,
    label_features,
    text_profile,
)
from irr.calibrate.decision import typical_text
from irr.errors import UsageError
from irr.io.texts import GoldRow
from irr.statistics import (
    Bools,
    Floats,
    Ints,
    LogisticCurve,
    calibration_error,
    cross_fitted,
    effective_sample,
)
from irr.text.strings import counted
from irr.types import Trace

# Fewer texts with gold say too little.
FEWEST_TEXTS = 30
_ERROR_LABELS = 10
# The columns of the features that say what examples say.
_OF_EXAMPLES = ((-2, -1),)
# The confidence of the guarantees, over draws of gold and of further texts.
CONFIDENCE = 0.99
_TARGETS = tuple(round(0.01 * i, 2) for i in range(1, 100))
# Cut-offs that are tested, from the strictest to the loosest.
_STEPS = 200
# Where testing starts, in labels that would prove the target if all were right.
_AMPLE = 3


P = TypeVar("P")


class RankedText(NamedTuple):
    """The ranking of a text with gold.

    Attributes:
        features: The features of its first labels, shape (labels, features).
        profile: Its profile, shape (parts,).
        right: Whether each label is gold, shape (labels,).
        gold: The number of gold labels of the text, those outside the ranking included.
    """

    features: Floats
    profile: Floats
    right: NDArray[np.bool_]
    gold: int

    @classmethod
    def of(cls, trace: Trace, gold: Sequence[str]) -> RankedText:
        """The ranking of a text, from its trace, and its gold."""
        labels, right = trace.ranking[:DEPTH], set(gold)
        return cls(
            label_features(labels, trace.candidates),
            text_profile(trace.candidates),
            np.array([label.id in right for label in labels], bool),
            len(right),
        )


def calibrate(program: P, rows: Sequence[GoldRow], on_text: Callable[[], None] = lambda: None) -> P:
    """The program with a calibration, so that each label of its predictions has a probability.

    Texts without gold, or answered with an error or without the language model, are left out. A text is
    answered without its own example as evidence.

    Args:
        program: The `InferRetrieveRank`.
        rows: At least 30 texts with gold, which may be examples of the program.
        on_text: Called after each text.

    Raises:
        UsageError: If too few texts are left, or no label is right.
    """
    judged = [row for row in rows if row.labels]
    uncalibrated: Any = program
    predictions = uncalibrated.leaving_examples_out().batch((row.text for row in judged), DEPTH, trace=True)
    rankings = []
    for row, prediction in zip(judged, predictions, strict=True):
        if prediction.trace and not prediction.fallbacks:
            rankings.append(RankedText.of(prediction.trace, row.labels))
        on_text()
    calibrated: P = uncalibrated.calibrated(fit(rankings, uncalibrated.ranking_digest))
    return calibrated


def fit(rankings: Sequence[RankedText], program: str) -> Calibration:
    """Fits the curve, the scope and the promises for the program with this digest of rankings.

    The promises rest on probabilities from curves that did not see the text: five-fold cross-fitting. A text
    must have been ranked without its own example.

    Raises:
        UsageError: If there are too few, or no label is right, or all are.
    """
    rankings = [one for one in rankings if one.gold and len(one.features)]
    if len(rankings) < FEWEST_TEXTS:
        problem = f"{counted(len(rankings), 'text')} with gold: too few to calibrate on"
        raise UsageError(problem, f"give at least {FEWEST_TEXTS}, better 100")
    scope = Scope.fit(np.array([one.profile for one in rankings]))
    features = np.concatenate([one.features for one in rankings])
    hits = np.concatenate([one.right for one in rankings])
    lengths = [len(one.right) for one in rankings]
    text = np.repeat(np.arange(len(rankings)), lengths)
    try:
        curve = LogisticCurve.fit(features, hits, supporting=_OF_EXAMPLES)
        held_out = cross_fitted(features, hits, text, len(rankings), supporting=_OF_EXAMPLES)
    except ValueError as e:
        problem = f"{'all' if hits.mean() > 0.5 else 'none'} of the labels that the program ranks are right"
        hint = "check that texts and gold belong to these labels, or give more of them"
        raise UsageError(problem, hint) from e
    probability = padded(np.split(held_out, np.cumsum(lengths)[:-1]), -1.0)
    right = padded([one.right for one in rankings], False).astype(bool)
    gold = np.array([one.gold for one in rankings])
    usual = np.array([scope.p_value(one.profile) > UNUSUAL for one in rankings])
    first = slice(None), slice(_ERROR_LABELS)
    there = probability[first] >= 0
    missed = float((gold - right.sum(axis=1)).mean())
    return Calibration(
        program=program,
        texts=len(rankings),
        error=calibration_error(probability[first][there], right[first][there]),
        missed=missed,
        typical=typical_text(probability[probability >= 0], len(rankings), missed),
        curve=curve,
        scope=scope,
        precision=precision_promises(np.where(usual[:, None], probability, -1.0), right),
        recall=recall_promises(probability, right, gold),
    )


def padded(rows: Sequence[NDArray[np.generic]], value: float) -> Floats:
    """Rows of different lengths as one array, shape (rows, longest)."""
    width = max(map(len, rows), default=0)
    return np.array([np.pad(row.astype(float), (0, width - len(row)), constant_values=value) for row in rows])


def precision_promises(probability: Floats, right: Bools, confidence: float = CONFIDENCE) -> Promises:
    """For each precision that these texts prove of as many further ones, the lowest probability that has it.

    Learn then test (Angelopoulos et al. 2021, arXiv 2110.01052) by fixed-sequence testing: cut-offs are
    tested from the strictest to the loosest, up to the first whose lower bound is below the target. The
    sequence starts where the texts return three times as many labels as would have to be right without
    exception to prove the target: with fewer, luck makes promises that the next texts break.
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

    `right` and `returned` are the right and the returned labels of each text, shape (texts,).
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
