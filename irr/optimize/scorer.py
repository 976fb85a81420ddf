"""Builds candidate programs over one index, and scores them on examples with gold labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irr.config import RetrieveSettings, Settings
from irr.encoders.base import ContextVectors, Encoder, Places, encode_places
from irr.evaluate.metrics import METRICS
from irr.index.store import LabelIndex
from irr.io.texts import GoldRow
from irr.lm.protocol import LanguageModel
from irr.program.program import InferRetrieveRank
from irr.program.spec import Models, ProgramSpec
from irr.prompts.pack import TaskPack
from irr.retrieve.features import Combination, Features
from irr.statistics import Estimate, estimate
from irr.text.words import clean
from irr.types import Example

Values = NDArray[np.float64]
DEPTH = 50
_RP_DEPTH = 10


@dataclass(frozen=True)
class Plan:
    """A candidate program: settings, prompts, models, weights, and whether it has examples."""

    settings: Settings
    task: TaskPack
    combination: Combination
    infer_lm: LanguageModel | None = None
    rank_lm: LanguageModel | None = None
    examples: bool = True

    @property
    def uses_examples(self) -> bool:
        """Whether its answers depend on its examples."""
        settings = self.settings
        near = settings.infer.near_demos + settings.rank.near_demos
        return bool(settings.retrieve.example_weight or near or self.combination.reads_examples)

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


@dataclass(frozen=True)
class GoldFeatures:
    """The features of a text's labels, and which labels are gold.

    Attributes:
        features: The features of the proposed labels.
        right: Whether each of them is gold, shape (labels,).
        gold: The number of gold labels, proposed or not.
    """

    features: Features
    right: NDArray[np.bool_]
    gold: int

    def rank_precision(self, combination: Combination, depth: int = _RP_DEPTH) -> float:
        """RP@k of the labels by this combination, k being the depth."""
        order = np.argsort(-combination.scores(self.features), kind="stable")[:depth]
        return float(self.right[order].sum()) / min(depth, self.gold)


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
        settings = plan.settings.replace({"retrieve.exact_entries": 0}) if quick else plan.settings
        index = self._quick if quick else self.index
        return self._assembled(replace(plan, settings=settings), self.encoder, index, leave_one_out=True)

    def final(self, plan: Plan) -> InferRetrieveRank:
        """The program of a plan as it is returned: every example is evidence, nothing is cached."""
        return self._assembled(plan, self.encoder.encoder, self.index, leave_one_out=False)

    def _assembled(
        self, plan: Plan, encoder: Encoder, index: LabelIndex, leave_one_out: bool
    ) -> InferRetrieveRank:
        models = Models(encoder, plan.infer_lm, plan.rank_lm)
        spec = ProgramSpec.of(
            models,
            settings=plan.settings,
            combination=plan.combination,
            task=plan.task,
            examples=self.examples if plan.examples else (),
            leave_one_out=leave_one_out,
        )
        return InferRetrieveRank.assemble(spec, models, index)

    def judged(self, plan: Plan, rows: Sequence[GoldRow]) -> list[GoldFeatures]:
        """The features of each row's labels and which are gold, without a language model."""
        program = self.program(replace(plan, infer_lm=None, rank_lm=None))
        inferences = program.stages.inferer.infer([clean(row.text) for row in rows])
        found = program.stages.retriever.features([inference.queries for inference in inferences], DEPTH)
        number_of = self.index.space.number_of
        return [
            GoldFeatures(
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


# Queries that are looked up at a time.
_BLOCK = 256


class CachingEncoder:
    """An encoder that encodes no text twice."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._places: dict[tuple[str, Places], tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new or not texts:
            vectors = self.encoder.encode(new)
            if not texts:
                return vectors
            self._vectors.update(zip(new, vectors, strict=True))
        return np.array([self._vectors[text] for text in texts], np.float32)

    def encode_places(self, texts: Sequence[str], places: Sequence[Places]) -> ContextVectors | None:
        """Returns the vectors of texts and of places in them; None if the encoder has none of places."""
        keys = [(text, tuple(of_text)) for text, of_text in zip(texts, places, strict=True)]
        new = [key for key in dict.fromkeys(keys) if key not in self._places]
        if new:
            found = encode_places(self.encoder, [text for text, _ in new], [of_text for _, of_text in new])
            if found is None:
                return None
            self._places.update(zip(new, zip(*found, strict=True), strict=True))
        vectors, of_places = zip(*(self._places[key] for key in keys), strict=True)
        return ContextVectors(np.array(vectors, np.float32), list(of_places))


@dataclass(frozen=True)
class CachingIndex(LabelIndex):
    """An index that looks up no query twice."""

    known: dict[bytes, NDArray[np.int64]] = field(default_factory=dict)

    def nearest(self, vectors: NDArray[np.float32], n_results: int) -> NDArray[np.int64]:
        """Returns the nearest entries of each query vector, exact ones in a small label space."""
        keys = [vector.tobytes() for vector in vectors]
        new = [row for row, key in enumerate(keys) if key not in self.known]
        n_results = min(n_results, len(self.vectors))
        for start in range(0, len(new), _BLOCK):
            rows = new[start : start + _BLOCK]
            if len(self.vectors) > RetrieveSettings().exact_entries:
                found = super().nearest(vectors[rows], n_results)
            else:
                found = np.argpartition(vectors[rows] @ self.vectors.T, -n_results)[:, -n_results:]
            self.known.update(zip((keys[row] for row in rows), found, strict=True))
        return np.array([self.known[key] for key in keys])
