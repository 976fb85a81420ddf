"""Sums judgments up: the agreement of reviewers, gold for other commands, and the progress of a review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from irr.statistics import precision_bound
from irr.workbench.review.judgments import Judgment, Verdict, random_sample

Value = TypeVar("Value", bound=Hashable)
Labels = frozenset[str]
# Labels at least so probable count as returned; without probabilities, the first does.
_RETURNED = 0.5
# A text that is open longer was not read all the time.
_LONGEST_READING = 600.0
_RECENT = 50
_CURVE_POINTS = 40


def alpha(
    units: Iterable[Sequence[Value]],
    distance: Callable[[Value, Value], float],
    near: Callable[[Collection[Value]], Iterable[tuple[Value, Value]]] | None = None,
) -> float | None:
    """Krippendorff's alpha (2004, Content Analysis, chapter 11): 1 for full agreement, 0 for that of chance.

    Args:
        units: The values that people gave each unit; those with fewer than two count for nothing.
        distance: The distance of two values, 0 for equal ones; the squared difference, for numbers.
        near: Gives the pairs of different values whose distance may not be 1; all pairs by default.

    Returns:
        None where no two people judged one unit, or all values are the same, so that chance explains all.
    """
    paired = [values for values in units if len(values) > 1]
    total = sum(map(len, paired))
    observed = sum(
        2 * distance(a, b) / (len(values) - 1) for values in paired for a, b in combinations(values, 2)
    )
    counts = Counter(value for values in paired for value in values)
    by_chance: float = total**2 - sum(n**2 for n in counts.values())
    pairs = near(counts.keys()) if near else combinations(counts, 2)
    by_chance -= sum(2 * counts[a] * counts[b] * (1 - distance(a, b)) for a, b in pairs)
    if by_chance <= 0:
        return None
    return 1 - (total - 1) * observed / by_chance


def overlapping(sets: Collection[Labels]) -> Iterator[tuple[Labels, Labels]]:
    """The pairs of different sets that have a member in common, each once."""
    sets_with: dict[str, list[Labels]] = {}
    for one in sets:
        others = dict.fromkeys(other for member in one for other in sets_with.get(member, ()))
        yield from ((one, other) for other in others)
        for member in one:
            sets_with.setdefault(member, []).append(one)


def masi(one: Labels, other: Labels) -> float:
    """The distance of two sets that agree in part (Passonneau 2006, LREC): 1 - Jaccard · monotonicity.

    Monotonicity is 1 for equal sets, 2/3 where one contains the other, 1/3 where they overlap, else 0.
    """
    if one == other:
        return 0.0
    common = one & other
    weight = 2 / 3 if one <= other or other <= one else 1 / 3
    return 1 - weight * len(common) / len(one | other)


def agreement(judgments: Iterable[Judgment]) -> tuple[int, float | None]:
    """The number of texts that two people or more judged without being unsure, and alpha of their labels."""
    sets: dict[str | int, list[Labels]] = {}
    for judgment in judgments:
        if judgment.verdict is not Verdict.UNSURE:
            sets.setdefault(judgment.text_id, []).append(frozenset(judgment.labels))
    shared = [values for values in sets.values() if len(values) > 1]
    return len(shared), alpha(shared, masi, overlapping)


@dataclass(frozen=True, kw_only=True)
class GoldExport:
    """Gold made of judgments, with counts of its texts.

    Attributes:
        rows: One row a text: `{"id", "text", "labels", "chosen": "random" | "otherwise"}`; a text that no
            label fits has no labels and `"none_fits": true`.
        unsure: Texts that are left out, as people were unsure of them.
        disputed: Texts that people gave different labels.
        shared: Texts that two people or more judged, whose labels `alpha` is about.
    """

    rows: Sequence[dict[str, Any]]
    random: int
    none_fits: int
    unsure: int
    disputed: int
    shared: int
    alpha: float | None


def export_gold(judgments: Sequence[Judgment], only_random: bool = False) -> GoldExport:
    """Gold of the judgments that count; a label is gold if most of those who judged the text gave it."""
    chance = {judgment.text_id for judgment in random_sample(judgments)}
    by_text: dict[str | int, list[Judgment]] = {}
    unsure = set()
    for judgment in judgments:
        if only_random and judgment.text_id not in chance:
            continue
        if judgment.verdict is Verdict.UNSURE:
            unsure.add(judgment.text_id)
        else:
            by_text.setdefault(judgment.text_id, []).append(judgment)
    rows = [_gold_row(of_text, text_id in chance) for text_id, of_text in by_text.items()]
    shared, alpha = agreement(judgments)
    return GoldExport(
        rows=rows,
        random=sum(row["chosen"] == "random" for row in rows),
        none_fits=sum("none_fits" in row for row in rows),
        unsure=len(unsure - by_text.keys()),
        disputed=sum(len({frozenset(one.labels) for one in of_text}) > 1 for of_text in by_text.values()),
        shared=shared,
        alpha=alpha,
    )


def _gold_row(judgments: Sequence[Judgment], by_chance: bool) -> dict[str, Any]:
    votes = Counter(label for judgment in judgments for label in dict.fromkeys(judgment.labels))
    labels = [label for label, count in votes.items() if 2 * count > len(judgments)]
    last = judgments[-1]
    row: dict[str, Any] = {"id": last.text_id, "text": last.text, "labels": labels}
    row["chosen"] = "random" if by_chance else "otherwise"
    if all(judgment.verdict is Verdict.NONE_FITS for judgment in judgments):
        row["none_fits"] = True
    if notes := [judgment.note for judgment in judgments if judgment.note]:
        row["notes"] = notes
    return row


def progress(judgments: Sequence[Judgment], reviewer: str, texts: int, known: int) -> dict[str, Any]:
    """The progress of a review of so many texts, of which the program read `known`, as the page shows it."""
    mine = [judgment for judgment in judgments if judgment.reviewer == reviewer]
    shown = [judgment.seconds for judgment in mine[-_RECENT:] if judgment.seconds is not None]
    seconds = sum(min(one, _LONGEST_READING) for one in shown)
    sample = random_sample(judgments)
    shared, alpha = agreement(judgments)
    return {
        "texts": texts,
        "judged": len({judgment.text_id for judgment in judgments}),
        "mine": len(mine),
        "unsure": sum(judgment.verdict is Verdict.UNSURE for judgment in judgments),
        "known": known,
        "an_hour": 3600 * len(shown) / seconds if seconds else None,
        "random": len({judgment.text_id for judgment in sample}),
        "precision": _precision_curve(sample),
        "shared": shared,
        "alpha": alpha,
    }


def _precision_curve(sample: Iterable[Judgment]) -> list[dict[str, float]]:
    """The precision of the returned labels after more and more texts of a random sample.

    The 95 % intervals are those of Clopper and Pearson at the effective sample size, as labels of one text
    stand and fall together.
    """
    pairs = [_right_and_returned(judgment) for judgment in sample if judgment.verdict is not Verdict.UNSURE]
    right, returned = np.array([pair for pair in pairs if pair[1]], np.int64).reshape(-1, 2).T
    curve = []
    for end in np.unique(np.linspace(1, len(right), min(len(right), _CURVE_POINTS)).astype(int)).tolist():
        correct, shown = right[:end], returned[:end]
        mean = float(correct.sum() / shown.sum())
        low = min(mean, precision_bound(correct, shown, 0.975))
        high = max(mean, 1 - precision_bound(shown - correct, shown, 0.975))
        curve.append({"texts": end, "mean": mean, "low": low, "high": high})
    return curve


def _right_and_returned(judgment: Judgment) -> tuple[int, int]:
    """The number of right labels among those returned, and the number of those returned."""
    returned = list(judgment.proposed[:1])
    if any(label.probability is not None for label in judgment.proposed):
        returned = [label for label in judgment.proposed if (label.probability or 0.0) >= _RETURNED]
    return sum(label.id in judgment.labels for label in returned), len(returned)
