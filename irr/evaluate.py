"""Evaluates a program on texts with gold labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from pydantic import BaseModel, ConfigDict

from irr.errors import UsageError
from irr.metrics import (
    Estimate,
    estimate,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank,
    rp_at_k,
)
from irr.pipeline import InferRetrieveRank
from irr.tally import Tally
from irr.texts import GoldRow
from irr.types import Costs

Metric = Callable[[Sequence[str], set[str]], float]

METRICS: dict[str, Metric] = {
    **{f"rp@{k}": partial(rp_at_k, k=k) for k in (1, 5, 10, 50)},
    **{f"p@{k}": partial(precision_at_k, k=k) for k in (1, 5, 10)},
    **{f"recall@{k}": partial(recall_at_k, k=k) for k in (10, 50)},
    "ndcg@10": partial(ndcg_at_k, k=10),
    "mrr": reciprocal_rank,
}
_DEPTH = 50


class Report(BaseModel):
    """What a program scored.

    Attributes:
        metrics: Each metric's mean over the texts with gold, as a share of 1, with its interval.
        texts: How many texts were classified.
        texts_without_gold: How many of them had no gold and count in no mean.
        errors: How many of them were answered with an error; with gold, each scores 0.
        fallbacks: How many were answered without a language model that should have been asked.
        costs: What language-model calls cost, by stage.
        seconds: What classifying them took.
    """

    model_config = ConfigDict(frozen=True)

    metrics: dict[str, Estimate]
    texts: int
    texts_without_gold: int
    errors: int
    fallbacks: int
    costs: Costs
    seconds: float

    @property
    def texts_per_second(self) -> float:
        """Throughput over all texts, index and encoder being there."""
        return self.texts / self.seconds

    def as_json(self) -> dict[str, object]:
        """Means by name, their intervals by name under `ci95`, and the counts."""
        return {
            **{name: round(e.mean, 6) for name, e in self.metrics.items()},
            "ci95": {name: [round(e.low, 6), round(e.high, 6)] for name, e in self.metrics.items()},
            "texts": self.texts,
            "texts_without_gold": self.texts_without_gold,
            "errors": self.errors,
            "fallbacks": self.fallbacks,
            "costs": self.costs.model_dump(),
            "texts_per_second": round(self.texts_per_second, 3),
            "seconds": round(self.seconds, 3),
        }


def evaluate(
    program: InferRetrieveRank, rows: Sequence[GoldRow], on_text: Callable[[], None] = lambda: None
) -> Report:
    """Classifies `rows` and scores the answers.

    Args:
        program: The program.
        rows: Texts with gold labels.
        on_text: Called after each text.

    Raises:
        UsageError: If no text has gold labels.
    """
    if not any(row.labels for row in rows):
        raise UsageError("no text has gold labels", 'give texts with "labels"')
    values: dict[str, list[float]] = {name: [] for name in METRICS}
    tally = Tally()
    start = time.perf_counter()
    for row, prediction in zip(rows, program.batch((r.text for r in rows), _DEPTH), strict=True):
        tally = tally.add(prediction.error is not None, bool(prediction.fallbacks), prediction.costs)
        if row.labels:
            predicted = [label.id for label in prediction.labels]
            for name, metric in METRICS.items():
                values[name].append(metric(predicted, set(row.labels)))
        on_text()
    seconds = time.perf_counter() - start
    return Report(
        metrics={name: estimate(column) for name, column in values.items()},
        texts=tally.texts,
        texts_without_gold=sum(not row.labels for row in rows),
        errors=tally.errors,
        fallbacks=tally.fallbacks,
        costs=tally.costs,
        seconds=seconds,
    )
