"""Evaluates a program on texts with gold labels."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from irr.batch import Tally
from irr.config import TOLERATED
from irr.errors import UsageError
from irr.evaluate.metrics import ndcg_at_k, precision_at_k, recall_at_k, reciprocal_rank, rp_at_k, rp_curve
from irr.evaluate.sets import SetScorer, SetScores
from irr.io.texts import GoldRow
from irr.statistics import Estimate, estimate
from irr.types import Costs, Prediction

Metric = Callable[[Sequence[str], set[str]], float]
Share = Annotated[float, Field(ge=0.0, le=1.0)]

METRICS: dict[str, Metric] = {
    **{f"rp@{k}": partial(rp_at_k, k=k) for k in (1, 5, 10, 50)},
    **{f"p@{k}": partial(precision_at_k, k=k) for k in (1, 5, 10)},
    **{f"recall@{k}": partial(recall_at_k, k=k) for k in (10, 50)},
    "ndcg@10": partial(ndcg_at_k, k=10),
    "mrr": reciprocal_rank,
}
DEPTH = 50


class Classifier(Protocol):
    """A program, or an object that answers as one."""

    @property
    def digest(self) -> str:
        """The hash of all that its answers depend on."""
        ...

    def batch(self, texts: Iterable[str], top_k: int, trace: bool) -> Iterator[Prediction]:
        """Yields one prediction for each text, in order."""
        ...


class PerText(BaseModel):
    """The scores of each text with gold, in file order, by which two evaluations are paired.

    Attributes:
        ids: The texts.
        digest: SHA-256 over their ids, their content and their gold.
        scores: Each metric's value for each text.
    """

    model_config = ConfigDict(frozen=True)

    ids: tuple[str | int, ...]
    digest: str
    scores: dict[str, tuple[Share, ...]]

    @model_validator(mode="after")
    def _one_score_a_text(self) -> PerText:
        if any(len(column) != len(self.ids) for column in self.scores.values()):
            raise ValueError("not one score a text")
        return self


class Evaluation(BaseModel):
    """The scores of a program.

    Attributes:
        program: The digest of the program.
        metrics: Each metric's mean over the texts with gold, as a share of 1, with its interval.
        curve: Mean RP@k for k = 1, 2, ... up to 50.
        per_text: The values behind the means.
        texts: Texts that were classified.
        texts_without_gold: Texts without gold, which count in no mean.
        errors: Texts that were answered with an error; with gold, each scores 0.
        fallbacks: Texts that were answered without their language model.
        costs: The usage of language models, by stage.
        seconds: The time of classification.
        sets: The scores of the sets of labels that a calibrated program returns.
    """

    model_config = ConfigDict(frozen=True)

    program: str
    metrics: dict[str, Estimate]
    curve: tuple[float, ...]
    per_text: PerText
    texts: int
    texts_without_gold: int
    errors: int
    fallbacks: int
    costs: Costs
    seconds: float
    sets: SetScores | None = None

    @property
    def without_model(self) -> bool:
        """Whether more texts were answered without their language model than is tolerated."""
        return self.fallbacks > TOLERATED * self.texts

    @property
    def texts_per_second(self) -> float:
        """Throughput over all texts, without the loading of index and encoder."""
        return self.texts / self.seconds

    def as_json(self, per_text: bool = True) -> dict[str, object]:
        """Means by name, their intervals under `ci95`, the counts, and each text's scores if wanted."""
        fields: dict[str, object] = {
            **{name: round(e.mean, 6) for name, e in self.metrics.items()},
            "ci95": {name: [round(e.low, 6), round(e.high, 6)] for name, e in self.metrics.items()},
            "texts": self.texts,
            "texts_without_gold": self.texts_without_gold,
            "errors": self.errors,
            "fallbacks": self.fallbacks,
            "costs": self.costs.model_dump(),
            "texts_per_second": round(self.texts_per_second, 3),
            "seconds": round(self.seconds, 3),
            "program": self.program,
        }
        if self.sets:
            fields["sets"] = self.sets.as_json()
        if per_text:
            fields["curve"] = [round(value, 6) for value in self.curve]
            fields["per_text"] = {
                "ids": self.per_text.ids,
                "digest": self.per_text.digest,
                "scores": {name: [round(v, 6) for v in row] for name, row in self.per_text.scores.items()},
            }
        return fields


def evaluate(
    program: Classifier,
    rows: Sequence[GoldRow],
    on_text: Callable[[], None] = lambda: None,
    observe: Callable[[GoldRow, Prediction], None] | None = None,
    sets: SetScorer | None = None,
) -> Evaluation:
    """Classifies `rows` and scores the answers.

    Args:
        program: The program.
        rows: Texts with gold labels.
        on_text: Called after each text.
        observe: Called with each text and its prediction, which then carries its trace.
        sets: Scores the sets that a calibrated program returns.

    Raises:
        UsageError: If no text has gold labels.
    """
    judged = [row for row in rows if row.labels]
    if not judged:
        raise UsageError("no text has gold labels", 'give texts with "labels"')
    values: dict[str, list[float]] = {name: [] for name in METRICS}
    curve = np.zeros(DEPTH)
    tally = Tally()
    start = time.perf_counter()
    predictions = program.batch((r.text for r in rows), DEPTH, trace=observe is not None)
    for row, prediction in zip(rows, predictions, strict=True):
        tally += Tally.of(prediction)
        if row.labels:
            predicted = [label.id for label in prediction.labels]
            gold = set(row.labels)
            for name, metric in METRICS.items():
                values[name].append(metric(predicted, gold))
            curve += rp_curve(predicted, gold, DEPTH)
            if sets:
                sets.add(gold, prediction)
        if observe:
            observe(row, prediction)
        on_text()
    seconds = time.perf_counter() - start
    return Evaluation(
        program=program.digest,
        metrics={name: estimate(column) for name, column in values.items()},
        curve=tuple((curve / len(judged)).tolist()),
        per_text=PerText(
            ids=tuple(row.id for row in judged),
            digest=texts_digest(judged),
            scores={name: tuple(column) for name, column in values.items()},
        ),
        texts=tally.texts,
        texts_without_gold=len(rows) - len(judged),
        errors=tally.errors,
        fallbacks=tally.fallbacks,
        costs=tally.costs,
        seconds=seconds,
        sets=sets.scores() if sets else None,
    )


def texts_digest(rows: Sequence[GoldRow]) -> str:
    """SHA-256 over the ids, contents and gold of the texts that have gold; other keys count for nothing."""
    parts = [[row.id, row.text, sorted(set(row.labels))] for row in rows if row.labels]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
