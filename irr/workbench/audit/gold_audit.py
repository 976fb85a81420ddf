"""An audit of gold: the texts in the order of how suspicious their labels are, with the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from irr import InferRetrieveRank, LabelSpace
from irr.errors import UsageError
from irr.io.texts import GoldRow
from irr.statistics import cross_fitted
from irr.text.strings import counted, one_line, short
from irr.workbench.audit.pairs import (
    FEATURES,
    FROM_OTHER_TEXTS,
    Pairs,
    TextRanking,
    TextRankings,
    pairs_by_text,
    pairs_of,
    rank_texts,
)

# Fewer texts with gold say too little about what is usual.
_FEWEST_TEXTS = 30
# The share of given labels that are supposed to be wrong, and of right ones to be missing.
_ERROR_RATE = 0.05
_TINY = 1e-9
# Findings of a text: the least suspicion, the most findings, and the characters of a quoted text.
_LEAST_SUSPICION = 0.02
_MOST_FINDINGS = 10
_QUOTED = 60
# Names whose vectors are at least so similar mean the same to the program.
_SAME_MEANING = 0.95
# Labels are mixed if each has two texts, and a quarter of its texts look more like those of the other one.
_MIXED = 0.25
_FEWEST_MIXED = 2
# A hub is among the first ten labels of 5 % of the texts, three times as often as the average label, and gold
# of at most a tenth of them.
_FIRST = 10
_HUB_SHARE = 0.05
_HUB_TIMES = 3
_HUB_RIGHT = 0.1


@dataclass(frozen=True)
class GoldFinding:
    """A label that is probably wrong, or missing.

    Attributes:
        kind: Which of the two.
        label: Its id.
        name: Its name.
        suspicion: The probability that the gold errs here, if a twentieth of all labels do.
        probability: The probability that the label belongs to the text, by a curve that did not see the text.
        rank: Its place in the program's ranking, from 1; None outside it.
        why: The reasons, in words.
    """

    kind: Literal["wrong", "missing"]
    label: str
    name: str
    suspicion: float
    probability: float
    rank: int | None
    why: str


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


class Suspect(BaseModel, frozen=True):
    """A text with its gold, the probability that any of it errs, and what is probably wrong."""

    id: str | int
    text: str
    labels: tuple[str, ...]
    suspicion: float
    findings: tuple[GoldFinding, ...]


class Audit(BaseModel, frozen=True):
    """The result of an audit.

    Attributes:
        program: Digest of the program that ranked the texts.
        texts: The number of texts.
        suspects: All texts, the most suspicious first.
        unknown: Gold ids that the label space lacks, with the number of texts that have each.
        twins: Labels that cannot be told apart.
        hubs: Labels that are proposed often and hardly ever right.
        orphans: Gold labels that none of their texts reaches.
        unreached: The number of labels that no text reaches.
        added: The supposed probability that a label is given to a text to which it does not belong.
        dropped: The supposed probability that a label is not given to a text to which it belongs.
    """

    program: str
    texts: int
    suspects: tuple[Suspect, ...]
    unknown: dict[str, int]
    twins: tuple[Twins, ...]
    hubs: tuple[Hub, ...]
    orphans: tuple[Orphan, ...]
    unreached: int
    added: float
    dropped: float


def audit(
    program: InferRetrieveRank, rows: Sequence[GoldRow], *, on_text: Callable[[], None] = lambda: None
) -> Audit:
    """Audits the gold of some texts.

    Args:
        program: Ranks the texts; a text that is one of its examples is not evidence for itself.
        rows: At least 30 texts with gold; ids that the label space lacks are reported and ignored.
        on_text: Called after each text.

    Raises:
        UsageError: If too few texts have gold that the label space knows, or no text can be ranked.
    """
    space = program.space
    unknown = Counter(label for row in rows for label in dict.fromkeys(row.labels) if label not in space)
    gold = [frozenset(space.number_of[label] for label in row.labels if label in space) for row in rows]
    known = sum(map(bool, gold))
    if known < _FEWEST_TEXTS:
        problem = f"{counted(known, 'text')} with gold: too few to tell what is unusual"
        if unknown:
            problem += f"; {counted(len(unknown), 'gold id is unknown', 'gold ids are unknown')}, as "
            problem += f'"{unknown.most_common(1)[0][0]}"'
        raise UsageError(problem, f"give at least {_FEWEST_TEXTS} with labels of this label space")
    ranked = rank_texts(program, [row.text for row in rows], sorted(frozenset().union(*gold)), on_text)
    if not any(len(one.labels) for one in ranked.texts):
        raise UsageError("the program finds labels for none of the texts", "give texts that hold words")
    pairs, (added, dropped) = judge(ranked, gold, len(space))
    return Audit(
        program=program.digest,
        texts=len(rows),
        suspects=tuple(_suspects(rows, space, ranked, pairs)),
        unknown=dict(unknown.most_common()),
        twins=tuple(_twins(space, ranked, pairs, gold)),
        hubs=tuple(_hubs(space, ranked, gold)),
        orphans=tuple(_orphans(space, ranked, gold)),
        unreached=len(space) - len({label for one in ranked.texts for label in one.labels.tolist()}),
        added=added,
        dropped=dropped,
    )


def judge(ranked: TextRankings, gold: Sequence[Set[int]], labels: int) -> tuple[Pairs, tuple[float, float]]:
    """The pairs of all texts with their probability and suspicion, and the error rates of the gold.

    Takes the rankings of the texts, the numbers of the gold labels of each, and the size of the label space.
    """
    pairs = pairs_of(ranked, gold, labels)
    given, text, weight = pairs["given"], pairs["text"], pairs["weight"]
    features = np.column_stack([pairs[name] for name in FEATURES])
    from_others = [(FEATURES.index(name),) for name in FROM_OTHER_TEXTS]
    pairs["probability"] = cross_fitted(features, given, text, len(gold), weight, from_others)
    return pairs, add_suspicion(pairs)


def add_suspicion(pairs: Pairs) -> tuple[float, float]:
    """Fills in the suspicion of pairs from their probability, by Bayes' rule; returns `added` and `dropped`.

    Labels that belong to a text are given unless they were dropped; others are not given unless they were
    added. The rates are those with which a twentieth of the given labels are wrong, and as many are missing;
    `added` is at least the share of given labels in the less probable half of all pairs.
    """
    p, given, weight = np.clip(pairs["probability"], _TINY, 1 - _TINY), pairs["given"], pairs["weight"]
    order = np.argsort(p, kind="stable")
    lower = order[np.cumsum(weight[order]) <= weight.sum() / 2]
    # One more in both counts, so that the rate is never 0.
    least = float(((weight * given)[lower].sum() + 1) / (weight[lower].sum() + 1))

    def wrong(added: float) -> Any:
        return (1 - p) * added / (p * (1 - _ERROR_RATE) + (1 - p) * added)

    def missing(dropped: float) -> Any:
        return p * dropped / (p * dropped + 1 - p)

    expected = _ERROR_RATE * given.sum()
    added = max(least, _rate(lambda rate: float(wrong(rate)[given].sum()), expected))
    dropped = _rate(lambda rate: float((weight * missing(rate))[~given].sum()), expected)
    pairs["suspicion"] = np.where(given, wrong(added), missing(dropped))
    return added, dropped


def _rate(errors: Callable[[float], float], expected: float) -> float:
    """The rate that gives the expected number of errors, by bisection; errors increase with the rate."""
    low, high = _TINY, 0.5
    for _ in range(50):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if errors(middle) < expected else (low, middle)
    return high


def _suspects(
    rows: Sequence[GoldRow], space: LabelSpace, ranked: TextRankings, pairs: Pairs
) -> list[Suspect]:
    """All texts, the most suspicious first; the suspicion of a text is the probability that any pair errs."""
    right = np.log1p(-np.clip(pairs["suspicion"], 0, 1 - 1e-12))
    suspicion = 1 - np.exp(np.bincount(pairs["text"], right, len(rows)))
    of_text = pairs_by_text(pairs, len(rows))
    suspects = []
    for text in np.argsort(-suspicion, kind="stable").tolist():
        row, own = rows[text], of_text[text]
        order = np.argsort(-own["suspicion"], kind="stable")[:_MOST_FINDINGS]
        findings = []
        for pair in own[order][own["suspicion"][order] >= _LEAST_SUSPICION]:
            label, reasons = space[int(pair["label"])], _reasons(pair, ranked.texts[text], space)
            if pair["neighbour"] < 0:
                reasons.append("no other text has it")
            else:
                quoted = short(rows[pair["neighbour"]].text, _QUOTED)
                similarity = pair["neighbour_similarity"]
                reasons.append(f'the nearest text that has it: "{quoted}" (similarity {similarity:.2f})')
            kind: Literal["wrong", "missing"] = "wrong" if pair["given"] else "missing"
            suspicious, p = round(float(pair["suspicion"]), 4), round(float(pair["probability"]), 6)
            rank, why = int(pair["rank"]) or None, "; ".join(reasons)
            findings.append(GoldFinding(kind, label.id, label.name, suspicious, p, rank, why))
        err = round(float(suspicion[text]), 4)
        suspects.append(
            Suspect(id=row.id, text=row.text, labels=row.labels, suspicion=err, findings=tuple(findings))
        )
    return suspects


def _reasons(pair: np.void, ranking: TextRanking, space: LabelSpace) -> list[str]:
    """The reasons why a given label may be wrong, or another one missing."""
    rank = pair["rank"]
    reasons = [f"the program ranks it {rank}"] if rank else []
    if pair["given"]:
        if not rank:
            reasons.append(f"the program has it not among its first {len(ranking.labels)}")
        if rank != 1:
            reasons.append(f'it sees "{space[int(ranking.labels[0])].name}"')
        return reasons
    if match := ranking.matches.get(int(pair["label"])):
        reasons.append(f'"{short(match[0], _QUOTED)}" met "{short(match[1], _QUOTED)}"')
    if pair["neighbour_share"] > 0:
        reasons.append(f"{pair['neighbour_share']:.0%} of the texts most like it have it")
    return reasons


def _twins(space: LabelSpace, ranked: TextRankings, pairs: Pairs, gold: Sequence[Set[int]]) -> list[Twins]:
    """Pairs of labels with like names, or with texts that look like each other's, the most mixed first."""
    counts = Counter(label for own in gold for label in own)
    swapped = _swapped(pairs, len(gold))

    def is_mixed(label: int, other: int) -> bool:
        least = max(1, _MIXED * counts[label])
        return counts[label] >= _FEWEST_MIXED and swapped[label, other] >= least

    mixed = {(a, b) for a, b in swapped if a < b and is_mixed(a, b) and is_mixed(b, a)}
    alike = _similar_names(ranked)
    found = []
    for a, b in mixed | alike.keys():
        similarity = alike.get((a, b), float(ranked.names[a] @ ranked.names[b]))
        reasons = []
        if one_line(space[a].name.casefold()) == one_line(space[b].name.casefold()):
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


def _hubs(space: LabelSpace, ranked: TextRankings, gold: Sequence[Set[int]]) -> list[Hub]:
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


def _orphans(space: LabelSpace, ranked: TextRankings, gold: Sequence[Set[int]]) -> list[Orphan]:
    """Gold labels that are in the ranking of none of their texts, those of most texts first."""
    counts = Counter(label for own in gold for label in own)
    for ranking, own in zip(ranked.texts, gold, strict=True):
        for label in own & set(ranking.labels.tolist()):
            del counts[label]
    found = [Orphan(_name(space, label), count) for label, count in counts.items()]
    return sorted(found, key=lambda orphan: (-orphan.texts, orphan.label.id))


def _name(space: LabelSpace, number: int) -> LabelName:
    return LabelName(id=space[number].id, name=space[number].name)
