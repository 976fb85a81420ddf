"""Findings: what is probably wrong with the gold of a text, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.text.strings import short
from irr.workbench.audit.reading import Readings
from irr.workbench.audit.slots import Slots

Floats = NDArray[np.float64]
# What is less suspicious than this is no finding of its own.
_LEAST = 0.02
_MOST = 10
_SHOWN = 60


class Finding(BaseModel):
    """A label that is probably wrong, or missing.

    Attributes:
        kind: Which of the two.
        label: Its id.
        name: Its name.
        suspicion: How probable it is that the gold errs here, if a twentieth of all labels do.
        probability: That the label belongs to the text, by a curve that did not see the text.
        rank: Its place in the program's ranking, from 1; None if it is not in it.
        why: What the program saw, for people.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["wrong", "missing"]
    label: str
    name: str
    suspicion: float
    probability: float
    rank: int | None
    why: str


class Suspect(BaseModel):
    """A text with its gold, how suspicious that is, and what is probably wrong with it."""

    model_config = ConfigDict(frozen=True)

    id: str | int
    text: str
    labels: tuple[str, ...]
    suspicion: float
    findings: tuple[Finding, ...]


def suspicion_of_texts(slots: Slots, suspicion: Floats, texts: int) -> Floats:
    """How probable it is that any slot of a text errs, shape (texts,)."""
    right = np.log1p(-np.clip(suspicion, 0, 1 - 1e-12))
    found: Floats = 1 - np.exp(np.bincount(slots.text, right, texts))
    return found


def suspects(
    rows: Sequence[GoldRow],
    space: LabelSpace,
    readings: Readings,
    slots: Slots,
    scores: tuple[Floats, Floats],
) -> list[Suspect]:
    """All texts, the most suspicious first.

    Args:
        rows: The texts with gold.
        space: The labels.
        readings: The texts as the program reads them.
        slots: Made of them.
        scores: The probability and the suspicion of each slot.
    """
    of_text = suspicion_of_texts(slots, scores[1], len(rows))
    starts = np.searchsorted(slots.text, np.arange(len(rows) + 1))
    told = _Told(rows, space, readings, slots, *scores)
    found = []
    for text in np.argsort(-of_text, kind="stable").tolist():
        own = np.arange(starts[text], starts[text + 1])
        order = own[np.argsort(-scores[1][own], kind="stable")][:_MOST]
        findings = tuple(told.finding(slot) for slot in order.tolist() if scores[1][slot] >= _LEAST)
        row = rows[text]
        found.append(
            Suspect(
                id=row.id,
                text=row.text,
                labels=row.labels,
                suspicion=round(float(of_text[text]), 4),
                findings=findings,
            )
        )
    return found


class _Told:
    """Says of slots what the program saw."""

    def __init__(
        self,
        rows: Sequence[GoldRow],
        space: LabelSpace,
        readings: Readings,
        slots: Slots,
        probability: Floats,
        suspicion: Floats,
    ) -> None:
        self._rows, self._space, self._readings, self._slots = rows, space, readings, slots
        self._probability, self._suspicion = probability, suspicion

    def finding(self, slot: int) -> Finding:
        slots = self._slots
        label = self._space[int(slots.label[slot])]
        given = bool(slots.given[slot])
        return Finding(
            kind="wrong" if given else "missing",
            label=label.id,
            name=label.name,
            suspicion=round(float(self._suspicion[slot]), 4),
            probability=round(float(self._probability[slot]), 6),
            rank=int(slots.rank[slot]) or None,
            why="; ".join(self._given(slot) if given else self._missing(slot)),
        )

    def _given(self, slot: int) -> list[str]:
        rank, reading = int(self._slots.rank[slot]), self._readings.texts[int(self._slots.text[slot])]
        seen = len(reading.labels)
        why = [f"the program ranks it {rank}" if rank else f"the program has it not among its first {seen}"]
        first = self._space[int(reading.labels[0])]
        if rank != 1:
            why.append(f'it sees "{first.name}"')
        return why + self._neighbour(slot)

    def _missing(self, slot: int) -> list[str]:
        rank, label = int(self._slots.rank[slot]), int(self._slots.label[slot])
        why = [f"the program ranks it {rank}"] if rank else []
        words = self._readings.texts[int(self._slots.text[slot])].words.get(label)
        if words:
            why.append(f'"{short(words[0], _SHOWN)}" met "{short(words[1], _SHOWN)}"')
        if self._slots.share[slot] > 0:
            why.append(f"{self._slots.share[slot]:.0%} of the texts most like it have it")
        return why + self._neighbour(slot)

    def _neighbour(self, slot: int) -> list[str]:
        nearest = int(self._slots.nearest[slot])
        if nearest < 0:
            return ["no other text has it"]
        text = short(self._rows[nearest].text, _SHOWN)
        return [f'the nearest text that has it: "{text}" (similarity {self._slots.nearness[slot]:.2f})']
