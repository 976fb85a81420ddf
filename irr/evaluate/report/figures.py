"""The figures of the report: where gold labels are lost, for which texts and labels, and confusions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from irr.encoders.base import Encoder
from irr.evaluate.evaluate import DEPTH
from irr.evaluate.report.diagnoser import TOP, GoldOutcome, TextRecord
from irr.labels.hierarchy import depths, known_parents
from irr.labels.space import LabelSpace
from irr.statistics import Estimate, estimate, interval, ratio, resampled

_RESAMPLES = 1_000
# Lower ends of the groups.
_TIMES = (1, 2, 4, 10, 30, 100)
_WORDS = (1, 11, 21, 41, 81, 161, 641)


@dataclass(frozen=True)
class Lost:
    """The gold labels of one outcome.

    Attributes:
        outcome: The outcome.
        labels: The number of labels.
        gain: The gain of RP@10 if all of them were in the first ten, as a share of 1.
    """

    outcome: GoldOutcome
    labels: int
    gain: float


@dataclass(frozen=True)
class Group:
    """The score of a group of texts or labels."""

    name: str
    size: int
    score: Estimate


@dataclass
class Confusion:
    """A gold label and the wrong label ranked above it with the most similar name.

    Attributes:
        gold: The gold label's id.
        wrong: The wrong label's id.
        texts: The texts with this confusion, by number.
        missed: The number of these texts in which the gold label is not in the first ten.
        similarity: The similarity of the two names.
    """

    gold: str
    wrong: str
    texts: list[int] = field(default_factory=list)
    missed: int = 0
    similarity: float = 0.0


def funnel(texts: Sequence[TextRecord]) -> list[Lost]:
    """The outcomes of all gold labels, in the order of the stages; `unanswered` only if it occurs."""
    judged = [seen for seen in texts if seen.gold]
    counts = Counter(gold.outcome for seen in judged for gold in seen.gold)
    lost = []
    for outcome in GoldOutcome:
        if counts[outcome] or outcome is not GoldOutcome.UNANSWERED:
            lost.append(Lost(outcome, counts[outcome], _gain(judged, outcome)))
    return lost


def _gain(judged: Sequence[TextRecord], outcome: GoldOutcome) -> float:
    if outcome is GoldOutcome.FOUND:
        return 0.0
    gains = []
    for seen in judged:
        outcomes = Counter(gold.outcome for gold in seen.gold)
        room = min(TOP, len(seen.gold))
        gains.append(min(room - outcomes[GoldOutcome.FOUND], outcomes[outcome]) / room)
    return float(np.mean(gains))


def curve(texts: Sequence[TextRecord]) -> list[Estimate]:
    """RP@k for k = 1 to 50, with intervals from the same resamples for all k."""
    judged = [seen for seen in texts if seen.gold]
    values = np.zeros((len(judged), DEPTH))
    for row, seen in enumerate(judged):
        for gold in seen.gold:
            if gold.rank and gold.rank <= DEPTH:
                values[row, gold.rank - 1 :] += 1
        values[row] /= np.minimum(np.arange(1, DEPTH + 1), len(seen.gold))
    means = np.concatenate([values[drawn].mean(axis=1) for drawn in resampled(len(judged), 0, _RESAMPLES)])
    ends = map(interval, means.T)
    return [
        Estimate(mean=float(mean), low=low, high=high)
        for mean, (low, high) in zip(values.mean(axis=0), ends, strict=True)
    ]


def by_frequency(texts: Sequence[TextRecord]) -> list[Group]:
    """The share of gold labels in the first ten, by how often the label is gold in these texts."""
    times = Counter(gold.label for seen in texts for gold in seen.gold)
    return _by_label(texts, lambda label: _range(times[label], _TIMES, "once", "times"))


def by_depth(texts: Sequence[TextRecord], space: LabelSpace) -> list[Group]:
    """The same by the label's level in the hierarchy, from 1 at the top; empty without a hierarchy."""
    if not any(label.parents for label in space):
        return []
    level = levels(space)
    return _by_label(texts, lambda label: (level[label], f"level {level[label]}"))


def by_length(texts: Sequence[TextRecord]) -> list[Group]:
    """RP@10 by the text's length in words."""
    groups: dict[tuple[int, str], list[float]] = defaultdict(list)
    for seen in texts:
        if seen.gold:
            found = sum(gold.outcome is GoldOutcome.FOUND for gold in seen.gold)
            key = _range(max(1, len(seen.text.split())), _WORDS, "1 word", "words")
            groups[key].append(found / min(TOP, len(seen.gold)))
    return [Group(name, len(scores), estimate(scores)) for (_, name), scores in sorted(groups.items())]


def levels(space: LabelSpace) -> dict[str, int]:
    """The level of each label by its shortest path to the top; 1 without a known parent."""
    # What stands in cycles only has no top above it.
    return {
        label.id: (steps or 0) + 1 for label, steps in zip(space, depths(known_parents(space)), strict=True)
    }


def _by_label(texts: Sequence[TextRecord], group_of: Callable[[str], tuple[int, str]]) -> list[Group]:
    hits: dict[tuple[int, str], Counter[int]] = defaultdict(Counter)
    counts: dict[tuple[int, str], Counter[int]] = defaultdict(Counter)
    for number, seen in enumerate(texts):
        for gold in seen.gold:
            key = group_of(gold.label)
            hits[key][number] += gold.outcome is GoldOutcome.FOUND
            counts[key][number] += 1
    groups = []
    for key in sorted(counts):
        there = list(counts[key].values())
        found = [hits[key][number] for number in counts[key]]
        groups.append(Group(key[1], sum(there), ratio(found, there)))
    return groups


def _range(value: int, edges: Sequence[int], one: str, unit: str) -> tuple[int, str]:
    """The position and the name of the group of a value."""
    place = max(i for i, edge in enumerate(edges) if edge <= value)
    first = edges[place]
    if place + 1 == len(edges):
        return place, f"{first}+ {unit}"
    last = edges[place + 1] - 1
    if first == last:
        return place, one
    return place, f"{first}–{last} {unit}"


def confusions(texts: Sequence[TextRecord], space: LabelSpace, encoder: Encoder) -> list[Confusion]:
    """For each gold label with wrong labels above it, the most similar one of these.

    Looked for among the first ten; sorted by how often times how alike the names are.
    """
    wanted = []
    for number, seen in enumerate(texts):
        right = {gold.label for gold in seen.gold}
        wrong = [(place, p.label) for place, p in enumerate(seen.predicted, 1) if p.label not in right]
        for gold in seen.gold:
            above = [label for place, label in wrong if gold.rank is None or place < gold.rank]
            if above:
                wanted.append((number, gold, above))
    names = dict.fromkeys(label for _, gold, above in wanted for label in (gold.label, *above))
    if not names:
        return []
    row_of = {label: row for row, label in enumerate(names)}
    vectors = encoder.encode([space[space.number_of[label]].name for label in names])
    pairs: dict[tuple[str, str], Confusion] = {}
    for number, gold, above in wanted:
        similarity = vectors[[row_of[label] for label in above]] @ vectors[row_of[gold.label]]
        nearest = int(similarity.argmax())
        pair = pairs.setdefault((gold.label, above[nearest]), Confusion(gold.label, above[nearest]))
        pair.texts.append(number)
        pair.missed += gold.outcome is not GoldOutcome.FOUND
        pair.similarity = float(similarity[nearest])
    return _sorted(pairs.values())


def _sorted(pairs: Iterable[Confusion]) -> list[Confusion]:
    return sorted(pairs, key=lambda pair: (-len(pair.texts) * pair.similarity, pair.gold, pair.wrong))
