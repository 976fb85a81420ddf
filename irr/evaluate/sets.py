"""Scores the sets of labels that a calibrated program returns, and its probabilities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from irr.calibrate.decision import Decision, Thresholds
from irr.calibrate.fit import padded
from irr.config import Hierarchy
from irr.io.texts import GoldRow
from irr.labels.hierarchy import arrange
from irr.program.program import InferRetrieveRank
from irr.statistics import Estimate, Floats, Ints, calibration_error, estimate, interval, ratio, resampled
from irr.types import Prediction, RankedLabel

_FIRST = 10
_RESAMPLES = 200
_BINS = 10
_CUT_OFFS = tuple(round(0.05 * i, 2) for i in range(1, 20))
_NOTHING = Estimate(mean=0.0, low=0.0, high=0.0)


class CutOffScores(NamedTuple):
    """The scores at one cut-off on probabilities, over all labels, and the labels a text."""

    cut_off: float
    precision: float
    recall: float
    f1: float
    size: float
    abstained: int


@dataclass(frozen=True, kw_only=True)
class SetScores:
    """The scores of the returned sets.

    Attributes:
        cut_off: The cut-off of the decision on probabilities; None for a number of labels or the best F1.
        micro: Precision, recall and F1 of all labels of all texts together.
        example: The same for each text, and their mean; a text without labels has a precision of 0.
        macro: The same for each label that is gold or returned, and their mean.
        sizes: Returned labels of each text.
        abstained: Texts without labels.
        calibration_error: The error of the first ten labels of each text, in ten bins of equal mass.
        bins: Mean probability, share of right labels and number of labels of each of these bins.
        unsure: The expected share of wrong labels among those of each text; 1 for a text without labels.
    """

    decision: Decision
    cut_off: float | None
    micro: dict[str, Estimate]
    example: dict[str, Estimate]
    macro: dict[str, float]
    sizes: tuple[int, ...]
    gold_sizes: tuple[int, ...]
    abstained: int
    calibration_error: Estimate
    bins: list[dict[str, float]]
    cutoffs: list[CutOffScores]
    unsure: tuple[float, ...]

    @property
    def promise(self) -> tuple[str, float, Estimate] | None:
        """The promised metric, its value, and the measured one; None without a promise."""
        if self.decision.precision:
            return "precision", self.decision.precision, self.micro["precision"]
        if self.decision.recall:
            return "recall", self.decision.recall, self.example["recall"]
        return None

    def as_json(self) -> dict[str, Any]:
        """The scores as JSON has them, each mean with its interval."""

        def rounded(value: Estimate) -> list[float]:
            return [round(number, 6) for number in (value.mean, value.low, value.high)]

        return {
            "decision": self.decision.model_dump(exclude_defaults=True),
            "cut_off": self.cut_off,
            "micro": {name: rounded(value) for name, value in self.micro.items()},
            "example": {name: rounded(value) for name, value in self.example.items()},
            "macro": {name: round(value, 6) for name, value in self.macro.items()},
            "mean_size": round(float(np.mean(self.sizes)), 3),
            "mean_gold": round(float(np.mean(self.gold_sizes)), 3),
            "abstained": self.abstained,
            "calibration_error": rounded(self.calibration_error),
            "cutoffs": [{name: round(v, 6) for name, v in one._asdict().items()} for one in self.cutoffs],
        }


class _ScoredSet(NamedTuple):
    """A text: its ranking's probabilities, which of these labels are gold, the returned labels, the gold."""

    probability: Floats
    right: Floats
    returned: Sequence[RankedLabel]
    gold: frozenset[str]
    p_value: float


class SetCollector:
    """Collects the sets of texts with gold; `arranged` puts chosen labels into a hierarchy."""

    def __init__(
        self,
        decision: Decision,
        thresholds: Thresholds,
        arranged: Callable[[Sequence[RankedLabel]], Sequence[RankedLabel]] | None = None,
    ) -> None:
        self._decision = decision
        self._thresholds = thresholds
        self._arranged = arranged
        self._texts: list[_ScoredSet] = []

    @classmethod
    def of(cls, program: InferRetrieveRank, decision: Decision) -> SetCollector | None:
        """The collector for a program and a decision; None for a program without a calibration."""
        if program.calibration is None:
            return None
        hierarchy, thresholds = program.settings.hierarchy, program.calibration.thresholds(decision)
        if hierarchy is Hierarchy.NONE or not decision.cuts:
            return cls(decision, thresholds)
        space = program.space
        return cls(decision, thresholds, lambda chosen: arrange(space, hierarchy, len(chosen), chosen))

    @property
    def reads_trace(self) -> bool:
        """Whether it needs the ranking of the trace, whose labels are not arranged yet."""
        return self._arranged is not None

    def add(self, row: GoldRow, prediction: Prediction) -> None:
        """Takes a text and all of its ranking; without probabilities, no label was chosen."""
        if not row.labels:
            return
        gold, p_value = frozenset(row.labels), prediction.scope or 0.0
        labels = prediction.labels if prediction.scope is not None else ()
        ranking = prediction.trace.ranking if self._arranged and prediction.trace and labels else labels
        selected = self._thresholds.select(_probabilities(ranking), p_value)
        returned = [label for label, keep in zip(ranking, selected, strict=True) if keep]
        if self._arranged:
            returned = list(self._arranged(returned))
        elif not self._decision.cuts:
            returned = returned[:_FIRST]
        right = np.array([label.id in gold for label in labels], float)
        self._texts.append(_ScoredSet(_probabilities(labels), right, returned, gold, p_value))

    def scores(self) -> SetScores:
        """The scores of all texts."""
        texts = self._texts
        probability = padded([t.probability for t in texts], -1.0)
        right = padded([t.right for t in texts], 0.0)
        returned = Counter(label.id for t in texts for label in t.returned)
        hits = Counter(label.id for t in texts for label in t.returned if label.id in t.gold)
        gold = Counter(label for t in texts for label in t.gold)
        by_label = [(hits[label], returned[label], gold[label]) for label in returned | gold]
        by_text = [
            (sum(label.id in t.gold for label in t.returned), len(t.returned), len(t.gold)) for t in texts
        ]
        _, sizes, gold_sizes = zip(*by_text, strict=True)
        first = probability[:, :_FIRST], right[:, :_FIRST]
        has_cut_off = self._decision.cuts and not self._decision.best_f1
        return SetScores(
            decision=self._decision,
            cut_off=self._thresholds.probability if has_cut_off else None,
            micro={
                name: ratio(part.tolist(), whole.tolist()) if whole.any() else _NOTHING
                for name, (part, whole) in _shares(by_text).items()
            },
            example={name: estimate(share.tolist()) for name, share in _by_row(by_text).items()},
            macro={name: float(share.mean()) for name, share in _by_row(by_label).items()},
            sizes=sizes,
            gold_sizes=gold_sizes,
            abstained=sizes.count(0),
            calibration_error=_calibration_error(*first),
            bins=_bins(*first),
            cutoffs=self._cutoffs(probability, right, sum(gold_sizes)),
            unsure=tuple(
                1.0 - float(np.mean(_probabilities(t.returned) if t.returned else 0.0)) for t in texts
            ),
        )

    def _cutoffs(self, probability: Floats, right: Floats, gold: int) -> list[CutOffScores]:
        usual = np.array([t.p_value > self._thresholds.scope for t in self._texts])
        found = []
        for cut_off in _CUT_OFFS:
            returned = (probability >= cut_off) & usual[:, None]
            hits, size = float((returned * right).sum()), int(returned.sum())
            abstained = int((~returned.any(axis=1)).sum())
            shares = hits / max(size, 1), hits / gold, 2 * hits / (size + gold)
            found.append(CutOffScores(cut_off, *shares, size / len(usual), abstained))
        return found


def _probabilities(labels: Sequence[RankedLabel]) -> Floats:
    return np.array([label.probability for label in labels], float)


def _shares(counts: Sequence[tuple[int, int, int]]) -> dict[str, tuple[Floats, Floats]]:
    """Numerator and denominator of each metric, from hits, returned labels and gold labels."""
    hits, returned, gold = np.array(counts, float).T
    return {"precision": (hits, returned), "recall": (hits, gold), "f1": (2 * hits, returned + gold)}


def _by_row(counts: Sequence[tuple[int, int, int]]) -> dict[str, Floats]:
    """Each metric of each row of counts."""
    return {name: part / np.maximum(whole, 1) for name, (part, whole) in _shares(counts).items()}


def _calibration_error(probability: Floats, right: Floats) -> Estimate:
    def error(rows: Ints | slice) -> float:
        there = probability[rows] >= 0
        return calibration_error(probability[rows][there], right[rows][there], bins=_BINS)

    drawn = [rows for block in resampled(len(probability), 0, _RESAMPLES) for rows in block]
    low, high = interval([error(rows) for rows in drawn])
    mean = error(slice(None))
    return Estimate(mean=mean, low=min(low, mean), high=max(high, mean))


def _bins(probability: Floats, right: Floats) -> list[dict[str, float]]:
    there = probability >= 0
    probability, right = probability[there], right[there]
    parts = np.array_split(np.argsort(probability, kind="stable"), _BINS)
    return [
        {
            "probability": float(probability[part].mean()),
            "right": float(right[part].mean()),
            "labels": len(part),
        }
        for part in parts
        if len(part)
    ]
