"""Decisions: which labels of a ranking are returned, and the thresholds that select them."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from irr.statistics import Bools, Floats

Promise = Annotated[float, Field(gt=0.0, lt=1.0)]


class Decision(BaseModel):
    """Which labels a text gets: at most one of the first four, or the best ones of every text.

    Attributes:
        min_probability: Those that are at least so probable.
        precision: Those of which this share is right, with 99 % confidence, of as many texts as the gold has.
        recall: A set that holds this share of a text's right labels, in expectation.
        best_f1: The set of the highest expected F1.
        scope: Texts at least as unusual as this share of the calibration texts get none; if None, 0.05 with
            `min_probability`, `precision` and `best_f1`, else 0. A promise has its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_probability: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    precision: Promise | None = None
    recall: Promise | None = None
    best_f1: bool = False
    scope: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Decision:
        if len(self._chosen) > 1:
            chosen = " and ".join(f"`{name}`" for name in self._chosen)
            raise ValueError(f"{chosen} are two ways to choose labels")
        if self.scope is not None and (self.precision or self.recall):
            raise ValueError("a promise has a scope of its own")
        return self

    @property
    def _chosen(self) -> list[str]:
        ways = ("min_probability", "precision", "recall", "best_f1")
        return [name for name in ways if getattr(self, name) not in (None, False)]

    @property
    def cuts(self) -> bool:
        """Whether it cuts the ranking of a text, instead of leaving all of it."""
        return bool(self._chosen)

    @property
    def calibrated(self) -> bool:
        """Whether it needs a calibrated program."""
        return self.cuts or bool(self.scope)


BEST = Decision()


class Thresholds(BaseModel):
    """A decision resolved to numeric thresholds.

    Attributes:
        probability: Labels that are less probable are not returned.
        best_f1: Whether the set of the highest expected F1 is returned instead.
        missed: As in `Calibration`.
        typical: As in `Calibration`.
        scope: Texts with a p-value of at most this get no labels.
    """

    model_config = ConfigDict(frozen=True)

    probability: float = 0.0
    best_f1: bool = False
    missed: float = 0.0
    typical: tuple[float, float] = (0.0, 0.0)
    scope: float = 0.0

    def select(self, probabilities: Floats, p_value: float) -> Bools:
        """Which labels of a text with this p-value are returned; arrays have the shape (labels,)."""
        if p_value <= self.scope:
            return np.zeros(len(probabilities), bool)
        if not self.best_f1:
            return probabilities >= self.probability
        selected = np.zeros(len(probabilities), bool)
        order = np.argsort(-probabilities, kind="stable")
        selected[order[: best_f1_size(probabilities[order], self.missed, self.typical)]] = True
        return selected


def best_f1_size(probability: Floats, missed: float = 0.0, typical: tuple[float, float] = (0.0, 0.0)) -> int:
    """How many of the best labels to return for the highest expected F1 of this text and a typical one.

    F1 of the k best is approximated by the ratio of expectations,
    2 · (sum of the k best p + h) / (k + sum of all p + missed + s), h and s being those of the typical text.
    With p that fall, it rises up to one size and falls from there on (Ye et al. 2012, arXiv 1206.4625). The
    typical text draws each choice towards the one cut-off that is best for all texts (Lipton et al. 2014,
    arXiv 1402.1892), so that a text of which little is known gets few labels, or none.

    Args:
        probability: Of the labels of a text, falling, shape (labels,).
        missed: Right labels that are not among them, in the mean.
        typical: Right labels of a typical text's set, and its returned and right labels together.
    """
    hits = np.concatenate([[0.0], np.cumsum(probability)]) + typical[0]
    sizes = np.arange(len(hits)) + probability.sum() + missed + typical[1]
    return int((hits / np.maximum(sizes, 1e-12)).argmax())


def typical_text(probability: Floats, texts: int, missed: float) -> tuple[float, float]:
    """What a typical text contributes to F1 where the best single cut-off is applied to all.

    It is the expected number of right labels, and of returned and right labels together, from the
    probabilities of all labels of all texts, shape (labels,), and the right labels that a text misses in the
    mean.
    """
    falling = np.sort(probability)[::-1]
    hits = np.cumsum(falling)
    sizes = np.arange(1, len(falling) + 1) + falling.sum() + missed * texts
    best = int((hits / sizes).argmax())
    return float(hits[best]) / texts, float(sizes[best]) / texts
