"""Builds candidate programs over one index, and scores them on examples with gold labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irr.builder import assemble
from irr.config import RetrieveSettings, Settings
from irr.encoders.base import Encoder
from irr.evaluate.evaluate import METRICS
from irr.evaluate.metrics import Estimate, estimate
from irr.index.store import LabelIndex
from irr.io.texts import GoldRow
from irr.lm.base import LanguageModel
from irr.optimize.combining import Judged
from irr.pipeline import InferRetrieveRank
from irr.prompts.pack import TaskPack
from irr.retrieve.combination import Combination, default_combination
from irr.retrieve.retriever import LabelRetriever
from irr.text.words import clean
from irr.types import Example

Values = NDArray[np.float64]
DEPTH = 50
# Queries looked up at a time.
_LOOKED_UP = 256


@dataclass(frozen=True)
class Plan:
    """A program that could be: settings, prompts, models, weights, and whether it has examples."""

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
    """A program that was tried: at which step, what was changed, and its score."""

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


class CachingEncoder:
    """An encoder that encodes no text twice."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new or not texts:
            vectors = self.encoder.encode(new)
            if not texts:
                return vectors
            self._vectors.update(zip(new, vectors, strict=True))
        return np.array([self._vectors[text] for text in texts], np.float32)


@dataclass(frozen=True)
class CachingIndex(LabelIndex):
    """An index that looks nothing up twice."""

    known: dict[bytes, NDArray[np.int64]] = field(default_factory=dict)

    def nearest(self, vectors: NDArray[np.float32], n_results: int) -> NDArray[np.int64]:
        """Returns the nearest entries of each query vector, exactly where that is no slower."""
        keys = [vector.tobytes() for vector in vectors]
        new = [row for row, key in enumerate(keys) if key not in self.known]
        n_results = min(n_results, len(self.vectors))
        for start in range(0, len(new), _LOOKED_UP):
            rows = new[start : start + _LOOKED_UP]
            if len(self.vectors) > RetrieveSettings().exact_entries:
                found = super().nearest(vectors[rows], n_results)
            else:
                found = np.argpartition(vectors[rows] @ self.vectors.T, -n_results)[:, -n_results:]
            self.known.update(zip((keys[row] for row in rows), found, strict=True))
        return np.array([self.known[key] for key in keys])


class Scorer:
    """Scores programs. An example never speaks for itself, whichever set it is in.

    Args:
        index: Of the label space.
        encoder: Made the index.
        train: The trainset.
        val: The valset.
    """

    def __init__(
        self, index: LabelIndex, encoder: Encoder, train: Sequence[GoldRow], val: Sequence[GoldRow]
    ) -> None:
        self.index = index
        self.encoder = CachingEncoder(encoder)
        self._quick = CachingIndex(**{part.name: getattr(index, part.name) for part in fields(index)})
        # What has no gold has no score.
        self.train = [row for row in train if row.labels]
        self.val = [row for row in val if row.labels]
        self.examples = tuple(Example(text=row.text, labels=row.labels) for row in (*self.train, *self.val))

    def program(self, plan: Plan, quick: bool = False) -> InferRetrieveRank:
        """The program of a plan, with the examples, each of them for the others only.

        Args:
            plan: The plan.
            quick: Whether only labels are scored that an entry of which is near to a query, as in a label
                space too large to scan. Much faster, and nearly the same.
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
        """The features of each row's labels, with which of them are right; no language model is asked."""
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
