"""Scores the sets of labels of a calibrated program, and its probabilities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from irr.calibrate.decision import Decision, Thresholds
from irr.calibrate.fit import padded
from irr.statistics import Estimate, calibration_error, estimate, interval, ratio, resampled
from irr.types import Prediction, RankedLabel

_FIRST = 10
_RESAMPLES = 200
_BINS = 10
_CUT_OFFS = tuple(round(0.05 * i, 2) for i in range(1, 20))


Floats = NDArray[np.float64]


class Kept(BaseModel):
    """The scores at one cut-off on probabilities, over all labels, and the labels a text."""

    model_config = ConfigDict(frozen=True)

    cut_off: float
    precision: float
    recall: float
    f1: float
    size: float
    abstained: int


class Bin(BaseModel):
    """Labels of similar probability: their mean probability, their share of right labels, their number."""

    model_config = ConfigDict(frozen=True)

    probability: float
    right: float
    labels: int


class SetScores(BaseModel):
    """The scores of the returned sets.

    Attributes:
        decision: The decision that chose them.
        cut_off: Its cut-off on probabilities; None for a number of labels or the best F1.
        micro: Precision, recall and F1 of all labels of all texts together.
        example: The same for each text, and their mean; a text without labels has a precision of 0.
        macro: The same for each label that is gold or returned, and their mean.
        sizes: Returned labels of each text.
        gold_sizes: Gold labels of each text.
        abstained: Texts without labels.
        calibration_error: Of the first ten labels of each text, in ten bins of equal mass.
        bins: Those bins.
        kept: The scores at other cut-offs.
        unsure: The expected share of wrong labels among those of each text; 1 for a text without labels.
    """

    model_config = ConfigDict(frozen=True)

    decision: Decision
    cut_off: float | None
    micro: dict[str, Estimate]
    example: dict[str, Estimate]
    macro: dict[str, float]
    sizes: tuple[int, ...]
    gold_sizes: tuple[int, ...]
    abstained: int
    calibration_error: Estimate
    bins: tuple[Bin, ...]
    kept: tuple[Kept, ...]
    unsure: tuple[float, ...]

    @property
    def promise(self) -> tuple[str, float, Estimate] | None:
        """The promised metric, its value, and the measured one; None without a promise."""
        if self.decision.precision:
            return "precision", self.decision.precision, self.micro["precision"]
        if self.decision.recall:
            return "recall", self.decision.recall, self.example["recall"]
        return None

    def as_json(self) -> dict[str, object]:
        """The scores as JSON has them, each mean with its interval."""
        groups = {"micro": self.micro, "example": self.example}
        return {
            "decision": self.decision.model_dump(exclude_defaults=True),
            "cut_off": self.cut_off,
            **{name: {key: _list(value) for key, value in of.items()} for name, of in groups.items()},
            "macro": {name: round(value, 6) for name, value in self.macro.items()},
            "mean_size": round(float(np.mean(self.sizes)), 3),
            "mean_gold": round(float(np.mean(self.gold_sizes)), 3),
            "abstained": self.abstained,
            "calibration_error": _list(self.calibration_error),
            "cutoffs": [{name: round(v, 6) for name, v in one.model_dump().items()} for one in self.kept],
        }


class _Text(NamedTuple):
    """A text: the probabilities of its ranking, which labels are gold, the returned labels, and the gold."""

    probability: Floats
    right: Floats
    returned: Sequence[RankedLabel]
    gold: frozenset[str]
    p_value: float


class SetScorer:
    """Takes the texts with gold one by one, then scores the sets.

    Args:
        decision: The decision that chooses labels.
        cut: Its cut-offs.
        answers: What the program answers to each text with gold by that decision; needed where its hierarchy
            arranges what was chosen.
    """

    def __init__(
        self, decision: Decision, thresholds: Thresholds, answers: Iterator[Prediction] | None = None
    ) -> None:
        self._decision = decision
        self._cut = thresholds
        self._answers = answers
        self._texts: list[_Text] = []

    def add(self, gold: Collection[str], prediction: Prediction) -> None:
        """Takes a text.

        Args:
            gold: Its right labels.
            prediction: All of its ranking, with probabilities; without them, no label was chosen.
        """
        labels = prediction.labels if prediction.scope is not None else ()
        probability = np.array([label.probability for label in labels], float)
        p_value = prediction.scope or 0.0
        keeps = self._cut.select(probability, p_value)
        returned: Sequence[RankedLabel] = [label for label, kept in zip(labels, keeps, strict=True) if kept]
        if not self._decision.cuts:
            returned = returned[:_FIRST]
        if self._answers:
            returned = next(self._answers).labels
        right = np.array([label.id in gold for label in labels], float)
        self._texts.append(_Text(probability, right, returned, frozenset(gold), p_value))

    def scores(self) -> SetScores:
        """The scores of all texts."""
        texts = self._texts
        hits = np.array([sum(label.id in t.gold for label in t.returned) for t in texts], float)
        sizes = np.array([len(t.returned) for t in texts], float)
        gold = np.array([len(t.gold) for t in texts], float)
        precision = hits / np.maximum(sizes, 1)
        cut_off = self._cut.probability if self._decision.cuts and not self._decision.best_f1 else None
        return SetScores(
            decision=self._decision,
            cut_off=cut_off,
            micro={
                "precision": ratio(hits.tolist(), sizes.tolist()) if sizes.any() else _NOTHING,
                "recall": ratio(hits.tolist(), gold.tolist()),
                "f1": ratio((2 * hits).tolist(), (sizes + gold).tolist()),
            },
            example={
                "precision": estimate(precision.tolist()),
                "recall": estimate((hits / gold).tolist()),
                "f1": estimate((2 * hits / (sizes + gold)).tolist()),
            },
            macro=_macro(texts),
            sizes=tuple(int(size) for size in sizes),
            gold_sizes=tuple(int(size) for size in gold),
            abstained=int((sizes == 0).sum()),
            calibration_error=self._calibration_error(),
            bins=_bins(*self._first(range(len(texts)))),
            kept=tuple(self._kept(cut) for cut in _CUT_OFFS),
            unsure=tuple(_unsure(t.returned) for t in texts),
        )

    def _first(self, numbers: Sequence[int] | NDArray[np.int64]) -> tuple[Floats, Floats]:
        chosen = [self._texts[number] for number in numbers]
        probability = np.concatenate([t.probability[:_FIRST] for t in chosen])
        return probability, np.concatenate([t.right[:_FIRST] for t in chosen])

    def _calibration_error(self) -> Estimate:
        count = len(self._texts)
        found = [
            calibration_error(*self._first(drawn), bins=_BINS)
            for some in resampled(count, 0, _RESAMPLES)
            for drawn in some
        ]
        low, high = interval(found)
        mean = calibration_error(*self._first(range(count)), bins=_BINS)
        return Estimate(mean=mean, low=min(low, mean), high=max(high, mean))

    def _kept(self, cut_off: float) -> Kept:
        usual = np.array([t.p_value > self._cut.scope for t in self._texts])
        probability = padded([t.probability for t in self._texts], -1.0)
        right = padded([t.right for t in self._texts], 0.0)
        kept = (probability >= cut_off) & usual[:, None]
        hits, size, gold = (kept * right).sum(), kept.sum(), sum(len(t.gold) for t in self._texts)
        return Kept(
            cut_off=cut_off,
            precision=float(hits / max(size, 1)),
            recall=float(hits / gold),
            f1=float(2 * hits / (size + gold)),
            size=float(size / len(usual)),
            abstained=int((~kept.any(axis=1)).sum()),
        )


_NOTHING = Estimate(mean=0.0, low=0.0, high=0.0)


def _macro(texts: Sequence[_Text]) -> dict[str, float]:
    returned = Counter(label.id for t in texts for label in t.returned)
    gold = Counter(label for t in texts for label in t.gold)
    right = Counter(label.id for t in texts for label in t.returned if label.id in t.gold)
    names = returned.keys() | gold.keys()
    return {
        "precision": float(np.mean([right[n] / max(returned[n], 1) for n in names])),
        "recall": float(np.mean([right[n] / max(gold[n], 1) for n in names])),
        "f1": float(np.mean([2 * right[n] / (returned[n] + gold[n]) for n in names])),
    }


def _bins(probability: Floats, right: Floats) -> tuple[Bin, ...]:
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, _BINS) if len(part)]
    return tuple(
        Bin(probability=float(probability[part].mean()), right=float(right[part].mean()), labels=len(part))
        for part in parts
    )


def _unsure(returned: Sequence[RankedLabel]) -> float:
    if not returned:
        return 1.0
    return float(1 - np.mean([label.probability or 0.0 for label in returned]))


def _list(value: Estimate) -> list[float]:
    return [round(value.mean, 6), round(value.low, 6), round(value.high, 6)]
