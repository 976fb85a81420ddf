"""Labels that cannot be told apart, that draw texts of other labels, or that their own texts never reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from irr import LabelSpace
from irr.workbench.audit.pairs import Pairs, TextRankings, pairs_by_text

# Names whose vectors are at least so similar mean the same to the program.
_SAME_MEANING = 0.95
# Labels are mixed if each has two texts, and a quarter of its texts look more like those of the other one.
_MIXED = 0.25
_FEWEST_TEXTS = 2
# A hub is among the first ten labels of 5 % of the texts, three times as often as the average label, and gold
# of at most a tenth of them.
_FIRST = 10
_HUB_SHARE = 0.05
_HUB_TIMES = 3
_HUB_RIGHT = 0.1


@dataclass(frozen=True)
class LabelName:
    """A label by id and name."""

    id: str
    name: str


@dataclass(frozen=True)
class Twins:
    """Two labels that cannot be told apart.

    Attributes:
        one: A label.
        other: Another one.
        similarity: The similarity of their names.
        texts: The number of texts of each.
        mixed: The number of these that look more like the texts of the other.
        why: The reasons, in words.
    """

    one: LabelName
    other: LabelName
    similarity: float
    texts: tuple[int, int]
    mixed: tuple[int, int]
    why: str


@dataclass(frozen=True)
class Hub:
    """A label that is among the first ten of `texts` texts and gold of `right` of them."""

    label: LabelName
    texts: int
    right: int


@dataclass(frozen=True)
class Orphan:
    """A gold label that none of its `texts` texts has among its first labels."""

    label: LabelName
    texts: int


def twins(space: LabelSpace, ranked: TextRankings, pairs: Pairs, gold: Sequence[Set[int]]) -> list[Twins]:
    """Pairs of labels with like names, or with texts that look like each other's, the most mixed first."""
    counts = Counter(label for own in gold for label in own)
    swapped = _swapped(pairs, len(gold))

    def is_mixed(label: int, other: int) -> bool:
        least = max(1, _MIXED * counts[label])
        return counts[label] >= _FEWEST_TEXTS and swapped[label, other] >= least

    mixed = {(a, b) for a, b in swapped if a < b and is_mixed(a, b) and is_mixed(b, a)}
    alike = _similar_names(ranked)
    found = []
    for a, b in mixed | alike.keys():
        similarity = alike.get((a, b), float(ranked.names[a] @ ranked.names[b]))
        reasons = []
        if _folded(space[a].name) == _folded(space[b].name):
            reasons.append("they have one name")
        elif similarity >= _SAME_MEANING:
            reasons.append("their names mean the same to the program")
        if (a, b) in mixed:
            reasons.append("texts of each look like those of the other")
        texts, swaps = (counts[a], counts[b]), (swapped[a, b], swapped[b, a])
        one, other, why = _name(space, a), _name(space, b), ", and ".join(reasons)
        found.append(Twins(one, other, round(similarity, 3), texts, swaps, why))
    return sorted(found, key=lambda t: (-min(t.mixed), -sum(t.mixed), -t.similarity, t.one.id, t.other.id))


def _swapped(pairs: Pairs, texts: int) -> Counter[tuple[int, int]]:
    """The number of texts of a label that look more like those of another, by (label, other)."""
    swapped: Counter[tuple[int, int]] = Counter()
    for rows in pairs_by_text(pairs, texts):
        for pair in rows[rows["given"]]:
            better = rows[(rows["probability"] > pair["probability"]) & ~rows["given"]]
            swapped.update((int(pair["label"]), other) for other in better["label"].tolist())
    return swapped


def _similar_names(ranked: TextRankings) -> dict[tuple[int, int], float]:
    """The similarity of names that mean the same, by the numbers of the two labels."""
    numbers = sorted(ranked.names)
    vectors = np.array([ranked.names[number] for number in numbers])
    found = {}
    for row, number in enumerate(numbers):
        similar = vectors[row + 1 :] @ vectors[row]
        for other in np.flatnonzero(similar >= _SAME_MEANING).tolist():
            found[number, numbers[row + 1 + other]] = float(similar[other])
    return found


def hubs(space: LabelSpace, ranked: TextRankings, gold: Sequence[Set[int]]) -> list[Hub]:
    """Labels that are proposed for many texts and hardly ever right, the most frequent first."""
    proposed: Counter[int] = Counter()
    right: Counter[int] = Counter()
    for ranking, own in zip(ranked.texts, gold, strict=True):
        first = ranking.labels[:_FIRST].tolist()
        proposed.update(first)
        right.update(label for label in first if label in own)
    least = max(5, _HUB_SHARE * len(gold), _HUB_TIMES * sum(proposed.values()) / len(space))
    found = [
        Hub(_name(space, label), count, right[label])
        for label, count in proposed.items()
        if count >= least and right[label] <= _HUB_RIGHT * count
    ]
    return sorted(found, key=lambda hub: (-hub.texts, hub.label.id))


def orphans(space: LabelSpace, ranked: TextRankings, gold: Sequence[Set[int]]) -> list[Orphan]:
    """Gold labels that are in the ranking of none of their texts, those of most texts first."""
    counts = Counter(label for own in gold for label in own)
    for ranking, own in zip(ranked.texts, gold, strict=True):
        for label in own & set(ranking.labels.tolist()):
            del counts[label]
    found = [Orphan(_name(space, label), count) for label, count in counts.items()]
    return sorted(found, key=lambda orphan: (-orphan.texts, orphan.label.id))


def _name(space: LabelSpace, number: int) -> LabelName:
    return LabelName(id=space[number].id, name=space[number].name)


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())
