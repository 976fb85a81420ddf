"""Ranking metrics of one text, and the table of those that evaluations report.

Every metric takes `predicted`, label ids best first, and `gold`, the set of right ids. A predicted id
counts once, at its first place. Texts without gold have no metric and stay out of every mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

# Labels of a ranking that are scored.
DEPTH = 50


def _hits(predicted: Sequence[str], gold: Collection[str], k: int | None) -> NDArray[np.bool_]:
    if not gold:
        raise ValueError("a text without gold has no metric")
    distinct = list(dict.fromkeys(predicted))[:k]
    gold = set(gold)
    return np.fromiter((label in gold for label in distinct), bool, len(distinct))


def rp_at_k(predicted: Sequence[str], gold: Collection[str], k: int) -> float:
    """Rank-precision: |gold ∩ top-k| / min(k, |gold|), as in arXiv 2401.12178, section 4."""
    return float(_hits(predicted, gold, k).sum()) / min(k, len(set(gold)))


def rp_curve(predicted: Sequence[str], gold: Collection[str], depth: int) -> NDArray[np.float64]:
    """RP@k for k = 1 to `depth`, shape (depth,)."""
    found = np.zeros(depth)
    hits = _hits(predicted, gold, depth)
    found[: len(hits)] = hits
    return found.cumsum() / np.minimum(np.arange(1, depth + 1), len(set(gold)))


def precision_at_k(predicted: Sequence[str], gold: Collection[str], k: int) -> float:
    """|gold ∩ top-k| / k."""
    return float(_hits(predicted, gold, k).sum()) / k


def recall_at_k(predicted: Sequence[str], gold: Collection[str], k: int) -> float:
    """|gold ∩ top-k| / |gold|."""
    return float(_hits(predicted, gold, k).sum()) / len(set(gold))


def ndcg_at_k(predicted: Sequence[str], gold: Collection[str], k: int) -> float:
    """Normalized discounted cumulative gain, binary, log2 discount (Järvelin & Kekäläinen 2002)."""
    hits = _hits(predicted, gold, k)
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(set(gold)))))
    return float((hits / np.log2(np.arange(2, len(hits) + 2))).sum()) / ideal


def reciprocal_rank(predicted: Sequence[str], gold: Collection[str]) -> float:
    """1 / the rank of the first right label, 0 when there is none; its mean is the MRR."""
    hits = np.flatnonzero(_hits(predicted, gold, None))
    return 1 / (int(hits[0]) + 1) if len(hits) else 0.0


METRICS: dict[str, Callable[[Sequence[str], Collection[str]], float]] = {
    **{f"rp@{k}": partial(rp_at_k, k=k) for k in (1, 5, 10, 50)},
    **{f"p@{k}": partial(precision_at_k, k=k) for k in (1, 5, 10)},
    **{f"recall@{k}": partial(recall_at_k, k=k) for k in (10, 50)},
    "ndcg@10": partial(ndcg_at_k, k=10),
    "mrr": reciprocal_rank,
}
