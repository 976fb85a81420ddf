"""Builds candidate programs over one index, and scores them on examples with gold labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irr.config import Settings
from irr.encoders.base import Encoder
from irr.evaluate.metrics import METRICS
from irr.index.store import LabelIndex
from irr.io.texts import GoldRow
from irr.lm.base import LanguageModel
from irr.optimize.caching import CachingEncoder, CachingIndex
from irr.optimize.combining import Judged
from irr.program.build import assemble
from irr.program.program import InferRetrieveRank
from irr.prompts.pack import TaskPack
from irr.retrieve.combination import Combination, default_combination
from irr.retrieve.retriever import LabelRetriever
from irr.statistics import Estimate, estimate
from irr.text.words import clean
from irr.types import Example

Values = NDArray[np.float64]
DEPTH = 50


@dataclass(frozen=True)
class Plan:
    """A candidate program: settings, prompts, models, weights, and whether it has examples."""

    settings: Settings
    task: TaskPack
    infer_lm: LanguageModel | None = None
    rank_lm: LanguageModel | None = None
    examples: bool = True
    combination: Combination = field(default_factory=default_combination)

    def set(self, changes: Mapping[str, Any]) -> Plan:
        """The plan with other settings, by dotted name."""
        return replace(self, settings=self.settings.replace(changes))


@dataclass(frozen=True)
class Trial:
    """A program that was tried: the step, what was changed, and its score."""

    step: str
    what: str
    metric: str
    score: Estimate
    calls: int

    def row(self) -> dict[str, str | int | float]:
        """The trial as a row of JSON."""
        mean, low, high = (round(value, 6) for value in (self.score.mean, self.score.low, self.score.high))
        return {
            "step": self.step,
            "what": self.what,
            "metric": self.metric,
            "mean": mean,
            "low": low,
            "high": high,
            "calls": self.calls,
        }


class Scorer:
    """Scores programs; no example is evidence for itself.

    Args:
        index: The index of the label space.
        encoder: The encoder of the index.
        train: The trainset.
        val: The valset.
    """

    def __init__(
        self, index: LabelIndex, encoder: Encoder, train: Sequence[GoldRow], val: Sequence[GoldRow]
    ) -> None:
        self.index = index
        self.encoder = CachingEncoder(encoder)
        self._quick = CachingIndex(**{part.name: getattr(index, part.name) for part in fields(index)})
        # A text without gold has no score.
        self.train = [row for row in train if row.labels]
        self.val = [row for row in val if row.labels]
        self.examples = tuple(Example(text=row.text, labels=row.labels) for row in (*self.train, *self.val))

    def program(self, plan: Plan, quick: bool = False) -> InferRetrieveRank:
        """The program of a plan, with all examples as evidence for the other texts.

        Args:
            plan: The plan.
            quick: Whether to score only labels near a query, as in a large label space, which is much faster
                and nearly the same.
        """
        return assemble(
            self._quick if quick else self.index,
            self.encoder,
            plan.settings.replace({"retrieve.exact_entries": 0}) if quick else plan.settings,
            infer_lm=plan.infer_lm,
            rank_lm=plan.rank_lm,
            task=plan.task,
            examples=self.examples if plan.examples else (),
            combination=plan.combination,
            leave_one_out=True,
        )

    def judged(self, plan: Plan, rows: Sequence[GoldRow]) -> list[Judged]:
        """The features of each row's labels and which are gold, without a language model."""
        program = self.program(replace(plan, infer_lm=None, rank_lm=None))
        inferences = program.inferer.infer([clean(row.text) for row in rows])
        assert isinstance(program.retriever, LabelRetriever)
        found = program.retriever.features([inference.queries for inference in inferences], DEPTH)
        number_of = self.index.space.number_of
        return [
            Judged(
                features,
                np.isin(features.labels, [number_of[label] for label in row.labels]),
                len(set(row.labels)),
            )
            for row, features in zip(rows, found, strict=True)
            if features is not None
        ]

    def values(
        self, plan: Plan, rows: Sequence[GoldRow], metric: str = "rp@10", quick: bool = False
    ) -> Values:
        """The metric of each row, shape (rows,)."""
        predictions = self.program(plan, quick).batch([row.text for row in rows], DEPTH)
        return np.array(
            [
                METRICS[metric]([label.id for label in prediction.labels], set(row.labels))
                for row, prediction in zip(rows, predictions, strict=True)
            ]
        )


def scored(step: str, what: str, metric: str, values: Sequence[float] | Values, calls: int) -> Trial:
    """A trial with the mean of its values and its interval."""
    return Trial(step, what, metric, estimate([float(value) for value in values]), calls)
