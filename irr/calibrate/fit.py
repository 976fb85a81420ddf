"""Fits a calibration on the rankings of texts with gold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from irr.calibrate.calibration import DEPTH, Calibration, label_features, text_profile
from irr.calibrate.decision import typical_text
from irr.calibrate.risk_control import precision_promises, recall_promises
from irr.calibrate.scope import UNUSUAL, Scope
from irr.errors import UsageError
from irr.io.texts import GoldRow
from irr.statistics import Floats, LogisticCurve, calibration_error, cross_fitted
from irr.text.strings import counted
from irr.types import Prediction, Trace

# Fewer texts with gold say too little.
FEWEST_TEXTS = 30
_ERROR_LABELS = 10
# The columns of the features that say what examples say.
_OF_EXAMPLES = ((-2, -1),)


class Calibratable(Protocol):
    """A program as calibration uses it."""

    @property
    def ranking_digest(self) -> str:
        """SHA-256 of all that its rankings depend on."""
        ...

    def leaving_examples_out(self) -> Self:
        """The program in which an example is evidence for other texts only."""
        ...

    def calibrated(self, calibration: Calibration | None) -> Self:
        """The program with this calibration."""
        ...

    def batch(self, texts: Any, top_k: int | None = None, trace: bool = False) -> Iterator[Prediction]:
        """Yields one prediction for each text, in order."""
        ...


P = TypeVar("P", bound=Calibratable)


class RankedText(NamedTuple):
    """The ranking of a text with gold.

    Attributes:
        features: The features of its first labels, shape (labels, features).
        profile: What tells how usual the text is, shape (parts,).
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
        program: The program.
        rows: At least 30 texts with gold, which may be examples of the program.
        on_text: Called after each text.

    Raises:
        UsageError: If too few texts are left, or no label is right.
    """
    judged = [row for row in rows if row.labels]
    predictions = program.leaving_examples_out().batch((row.text for row in judged), DEPTH, trace=True)
    rankings = []
    for row, prediction in zip(judged, predictions, strict=True):
        if prediction.trace and not prediction.fallbacks:
            rankings.append(RankedText.of(prediction.trace, row.labels))
        on_text()
    return program.calibrated(fit(rankings, program.ranking_digest))


def fit(rankings: Sequence[RankedText], program: str) -> Calibration:
    """Fits the curve, the scope and the promises.

    The promises rest on probabilities from curves that did not see the text: five-fold cross-fitting.

    Args:
        rankings: The rankings of texts; a text's own example must not have spoken for it.
        program: Digest of the rankings of the program that made them.

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
