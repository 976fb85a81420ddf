"""Progress: how much is reviewed, how fast, and how far the program can be trusted by what is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from irr.statistics import precision_bound
from irr.workbench.review.agreement import agreement
from irr.workbench.review.judgment import Judgment, Verdict
from irr.workbench.review.queue import random_sample

Ints = NDArray[np.int64]
# Labels at least so probable count as returned; without probabilities, the first does.
RETURNED = 0.5
# A text that is open longer was not read all the time.
_PAUSE = 600.0
_RECENT = 50
_POINTS = 40


class Precision(BaseModel):
    """What share of the returned labels is right, by a random sample: with its 95 % interval."""

    model_config = ConfigDict(frozen=True)

    texts: int
    mean: float
    low: float
    high: float


class Progress(BaseModel):
    """How far a review is.

    Attributes:
        texts: How many there are.
        judged: How many somebody judged.
        mine: How many this person judged.
        unsure: How many of all judgments are "unsure".
        known: How many texts the program has read.
        an_hour: Texts an hour of this person, over their last 50; None for the first.
        random: How many of the judged texts chance chose.
        precision: Of the returned labels, after more and more of these.
        shared: How many texts two people or more judged.
        alpha: Krippendorff's alpha of their labels.
    """

    model_config = ConfigDict(frozen=True)

    texts: int
    judged: int
    mine: int
    unsure: int
    known: int
    an_hour: float | None
    random: int
    precision: tuple[Precision, ...]
    shared: int
    alpha: float | None


def progress(judged: Sequence[Judgment], reviewer: str, texts: int, known: int) -> Progress:
    """How far a review is.

    Args:
        judged: The judgments that hold.
        reviewer: Who asks.
        texts: How many there are.
        known: How many of them the program has read.
    """
    mine = [one for one in judged if one.reviewer == reviewer]
    times = [min(one.seconds, _PAUSE) for one in mine[-_RECENT:] if one.seconds is not None]
    sample = random_sample(judged)
    shared, alpha = agreement(judged)
    return Progress(
        texts=texts,
        judged=len({one.text_id for one in judged}),
        mine=len(mine),
        unsure=sum(one.verdict is Verdict.UNSURE for one in judged),
        known=known,
        an_hour=3600 * len(times) / sum(times) if sum(times) else None,
        random=len({one.text_id for one in sample}),
        precision=precision_curve(sample),
        shared=shared,
        alpha=alpha,
    )


def precision_curve(sample: Iterable[Judgment]) -> tuple[Precision, ...]:
    """The precision of the returned labels after more and more texts of a random sample.

    The bounds are those of Clopper and Pearson at the effective sample size, as labels of one text stand and
    fall together.
    """
    pairs = [_returned(one) for one in sample if one.verdict is not Verdict.UNSURE]
    pairs = [(right, returned) for right, returned in pairs if returned]
    if not pairs:
        return ()
    right, returned = np.array(pairs, np.int64).T
    ends = np.unique(np.linspace(1, len(pairs), min(len(pairs), _POINTS)).astype(int))
    return tuple(_precision(right[:end], returned[:end]) for end in ends.tolist())


def _precision(right: Ints, returned: Ints) -> Precision:
    mean = float(right.sum() / returned.sum())
    return Precision(
        texts=len(right),
        mean=mean,
        low=min(mean, precision_bound(right, returned, 0.975)),
        high=max(mean, 1 - precision_bound(returned - right, returned, 0.975)),
    )


def _returned(one: Judgment) -> tuple[int, int]:
    """Right labels among those returned, and how many these are."""
    if any(label.probability is not None for label in one.proposed):
        returned = [label for label in one.proposed if (label.probability or 0.0) >= RETURNED]
    else:
        returned = list(one.proposed[:1])
    return sum(label.id in one.labels for label in returned), len(returned)
