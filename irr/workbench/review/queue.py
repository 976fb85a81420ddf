"""The queue: which text a person judges next, by the order that they ask for."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from irr.errors import UsageError
from irr.workbench.review.judgment import Judgment, Order
from irr.workbench.review.outlook import Outlook

Bools = NDArray[np.bool_]
# So long a text that is open on one person's screen is not given to another.
_OPEN_SECONDS = 900.0


@lru_cache(100_000)
def place(seed: int, text_id: str | int) -> str:
    """Where a text stands in the random order of a seed, whatever other texts there are."""
    return hashlib.sha256(f"{seed}\n{text_id!r}".encode()).hexdigest()


def random_sample(judgments: Iterable[Judgment]) -> list[Judgment]:
    """The judgments of texts that chance alone chose.

    These are the texts up to the last one that was reached in random order, those among them included that
    were reviewed for another reason before: chance put them there.
    """
    made = list(judgments)
    ends: dict[int, str] = {}
    for one in made:
        if one.order is Order.RANDOM:
            ends[one.seed] = max(ends.get(one.seed, ""), place(one.seed, one.text_id))
    return [one for one in made if any(place(seed, one.text_id) <= end for seed, end in ends.items())]


class Queue:
    """Gives out texts by number; a text that one person has open is not given to another.

    Args:
        ids: The ids of the texts.
        outlook: What the program proposes for them, as far as that is known.
        seed: Of the random order.
    """

    def __init__(self, ids: Sequence[str | int], outlook: Outlook, seed: int) -> None:
        self._ids = ids
        self._outlook = outlook
        self._random = np.array(sorted(range(len(ids)), key=lambda number: place(seed, ids[number])), int)
        self._number_of = {text_id: number for number, text_id in enumerate(ids)}
        self._open: dict[int, tuple[str, float]] = {}

    def next(
        self, order: Order, reviewer: str, judged: Sequence[Judgment], label: str | None = None
    ) -> int | None:
        """The number of the next text; None if there is none of that order.

        Texts that somebody judged are not given out again, but for second opinions.

        Args:
            order: By what it is chosen.
            reviewer: For whom.
            judged: The judgments that hold.
            label: The label whose texts are wanted, for that order.

        Raises:
            UsageError: If that order needs a label, and none is named.
        """
        by = self._judged_by(judged)
        mine = {number for number, people in by.items() if reviewer in people}
        left = np.ones(len(self._ids), bool)
        left[list(mine if order is Order.SECOND else by)] = False
        if order is Order.SECOND:
            others = np.zeros(len(self._ids), bool)
            others[list(by)] = True
            left &= others
        else:
            left[self._open_elsewhere(reviewer)] = False
        chosen = self._first(order, left, by, label)
        if chosen is not None:
            self._open[chosen] = (reviewer, time.monotonic())
        return chosen

    def _first(self, order: Order, left: Bools, by: Mapping[int, set[str]], label: str | None) -> int | None:
        known = left & self._outlook.known
        match order:
            case Order.LISTED:
                return _best(left, -np.arange(len(left), dtype=float))
            case Order.UNSURE:
                return _best(known, self._outlook.unsure)
            case Order.LABEL:
                if label is None:
                    raise UsageError("the order by label names no label", "name one")
                weight = np.array([found.get(label, -np.inf) for found in self._outlook.labels])
                return _best(known & np.isfinite(weight), weight)
            case Order.DIFFERENT:
                # The first of all is any text.
                return _best(left, -self._outlook.nearest(by)) if by else self._by_chance(left)
        return self._by_chance(left)

    def _by_chance(self, left: Bools) -> int | None:
        there = np.flatnonzero(left[self._random])
        return int(self._random[there[0]]) if len(there) else None

    def _judged_by(self, judged: Iterable[Judgment]) -> dict[int, set[str]]:
        by: dict[int, set[str]] = {}
        for one in judged:
            number = self._number_of.get(one.text_id)
            if number is not None:
                by.setdefault(number, set()).add(one.reviewer)
        return by

    def _open_elsewhere(self, reviewer: str) -> list[int]:
        now = time.monotonic()
        self._open = {n: held for n, held in self._open.items() if now - held[1] < _OPEN_SECONDS}
        return [number for number, (holder, _) in self._open.items() if holder != reviewer]


def _best(allowed: Bools, value: NDArray[np.float64]) -> int | None:
    """The number of the highest value that is allowed, the first of equal ones."""
    if not allowed.any():
        return None
    return int(np.where(allowed, value, -np.inf).argmax())
