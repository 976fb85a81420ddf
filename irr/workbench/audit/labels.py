"""Labels that cannot be told apart, that draw texts that are not theirs, or that their texts never reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from irr.labels.space import LabelSpace
from irr.workbench.audit.reading import Readings
from irr.workbench.audit.slots import Slots

Floats = NDArray[np.float64]
# Names whose vectors are at least so similar mean the same to the program.
_ALIKE = 0.95
# Texts of one label that look more like the other's, as a share of all of its texts, on both sides.
_MIXED = 0.25
_FEWEST = 2
# A hub is among the first ten labels of so many texts, as a share, three times as many as labels are in the
# mean, and of a tenth of them at most gold.
_FIRST = 10
_MANY = 0.05
_TIMES = 3
_RIGHT = 0.1


class Named(BaseModel):
    """A label by id and name."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str


class Twins(BaseModel):
    """Two labels that cannot be told apart.

    Attributes:
        one: A label.
        other: Another one.
        similarity: Of their names.
        texts: How many texts have each.
        mixed: How many of them look more like those of the other.
        why: For people.
    """

    model_config = ConfigDict(frozen=True)

    one: Named
    other: Named
    similarity: float
    texts: tuple[int, int]
    mixed: tuple[int, int]
    why: str


class Hub(BaseModel):
    """A label that is among the first ten of `texts` texts and gold of `right` of them."""

    model_config = ConfigDict(frozen=True)

    label: Named
    texts: int
    right: int


class Orphan(BaseModel):
    """A gold label that none of its `texts` texts has among its first labels."""

    model_config = ConfigDict(frozen=True)

    label: Named
    texts: int


def twins(
    space: LabelSpace, readings: Readings, slots: Slots, probability: Floats, gold: Sequence[Set[int]]
) -> list[Twins]:
    """Pairs of labels with like names, or with texts that look like each other's, the most mixed first.

    Args:
        space: The labels.
        readings: The texts as the program reads them.
        slots: Made of them.
        probability: That the label of a slot belongs to its text.
        gold: The gold labels of each text, by number.
    """
    counts = Counter(label for own in gold for label in own)
    swapped = _swapped(slots, probability, gold)
    mixed = {
        (a, b)
        for a, b in swapped
        if a < b
        and all(
            swapped[pair] >= max(1, _MIXED * counts[pair[0]]) and counts[pair[0]] >= _FEWEST
            for pair in ((a, b), (b, a))
        )
    }
    alike = _alike(readings)
    found = []
    for a, b in mixed | alike.keys():
        similarity = alike.get((a, b))
        if similarity is None:
            similarity = float(readings.names[a] @ readings.names[b])
        both = (swapped[a, b], swapped[b, a])
        found.append(
            Twins(
                one=_named(space, a),
                other=_named(space, b),
                similarity=round(similarity, 3),
                texts=(counts[a], counts[b]),
                mixed=both,
                why=_why(space, (a, b), similarity, (a, b) in mixed),
            )
        )
    return sorted(found, key=lambda t: (-min(t.mixed), -sum(t.mixed), -t.similarity, t.one.id, t.other.id))


def _swapped(slots: Slots, probability: Floats, gold: Sequence[Set[int]]) -> Counter[tuple[int, int]]:
    """How many texts of a label look more like those of another, by (label, other)."""
    found: Counter[tuple[int, int]] = Counter()
    starts = np.searchsorted(slots.text, np.arange(len(gold) + 1))
    for text, own in enumerate(gold):
        rows = slice(starts[text], starts[text + 1])
        labels, p = slots.label[rows], probability[rows]
        for label in own:
            mine = p[labels == label]
            if len(mine):
                found.update((label, other) for other in labels[p > mine[0]].tolist() if other not in own)
    return found


def _alike(readings: Readings) -> dict[tuple[int, int], float]:
    numbers = np.array(sorted(readings.names))
    vectors = np.array([readings.names[number] for number in numbers.tolist()])
    found = {}
    for row in range(len(numbers)):
        similar = vectors[row + 1 :] @ vectors[row]
        for other in np.flatnonzero(similar >= _ALIKE).tolist():
            pair = (int(numbers[row]), int(numbers[row + 1 + other]))
            found[pair] = float(similar[other])
    return found


def _why(space: LabelSpace, pair: tuple[int, int], similarity: float, mixed: bool) -> str:
    names = [" ".join(space[number].name.casefold().split()) for number in pair]
    reasons = []
    if names[0] == names[1]:
        reasons.append("they have one name")
    elif similarity >= _ALIKE:
        reasons.append("their names mean the same to the program")
    if mixed:
        reasons.append("texts of each look like those of the other")
    return ", and ".join(reasons)


def hubs(space: LabelSpace, readings: Readings, gold: Sequence[Set[int]]) -> list[Hub]:
    """Labels that are proposed for many texts and hardly ever right, the most frequent first."""
    proposed: Counter[int] = Counter()
    right: Counter[int] = Counter()
    for reading, own in zip(readings.texts, gold, strict=True):
        first = reading.labels[:_FIRST].tolist()
        proposed.update(first)
        right.update(label for label in first if label in own)
    mean = sum(proposed.values()) / len(space)
    least = max(5, _MANY * len(gold), _TIMES * mean)
    found = [
        Hub(label=_named(space, label), texts=count, right=right[label])
        for label, count in proposed.items()
        if count >= least and right[label] <= _RIGHT * count
    ]
    return sorted(found, key=lambda hub: (-hub.texts, hub.label.id))


def orphans(space: LabelSpace, readings: Readings, gold: Sequence[Set[int]]) -> list[Orphan]:
    """Gold labels that are in the ranking of none of their texts, those of most texts first."""
    counts = Counter(label for own in gold for label in own)
    reached = {
        label
        for reading, own in zip(readings.texts, gold, strict=True)
        for label in own & set(reading.labels.tolist())
    }
    found = [
        Orphan(label=_named(space, label), texts=count)
        for label, count in counts.items()
        if label not in reached
    ]
    return sorted(found, key=lambda orphan: (-orphan.texts, orphan.label.id))


def unreached(space: LabelSpace, readings: Readings) -> int:
    """How many labels are in the ranking of no text at all."""
    return len(space) - len({label for reading in readings.texts for label in reading.labels.tolist()})


def _named(space: LabelSpace, number: int) -> Named:
    return Named(id=space[number].id, name=space[number].name)
