"""Agreement between people: Krippendorff's alpha (Krippendorff 2004, Content Analysis, chapter 11)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import TypeVar

from irr.workbench.review.judgment import Judgment, Verdict

Value = TypeVar("Value", bound=Hashable)
Set = frozenset[str]


def alpha(
    units: Iterable[Sequence[Value]],
    distance: Callable[[Value, Value], float],
    near: Callable[[Collection[Value]], Iterable[tuple[Value, Value]]] = lambda of: combinations(of, 2),
) -> float | None:
    """Krippendorff's alpha: 1 for full agreement, 0 for agreement as by chance.

    Args:
        units: The values that people gave each unit; those with fewer than two count for nothing.
        distance: Between two values, 0 for equal ones; the squared difference, for numbers.
        near: Of different values, the pairs whose distance may be another than 1; all, unless that is said.

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
    by_chance -= sum(2 * counts[a] * counts[b] * (1 - distance(a, b)) for a, b in near(counts.keys()))
    if by_chance <= 0:
        return None
    return 1 - (total - 1) * observed / by_chance


def overlapping(sets: Collection[Set]) -> Iterator[tuple[Set, Set]]:
    """The pairs of different sets that have a member in common, each once."""
    holding: dict[str, list[Set]] = {}
    for one in sets:
        others = dict.fromkeys(other for member in one for other in holding.get(member, ()))
        yield from ((one, other) for other in others)
        for member in one:
            holding.setdefault(member, []).append(one)


def nominal(one: Hashable, other: Hashable) -> float:
    """0 for equal values, 1 for others."""
    return float(one != other)


def masi(one: Set, other: Set) -> float:
    """The distance of two sets that agree in part (Passonneau 2006, LREC): 1 - Jaccard · monotonicity.

    Monotonicity is 1 for equal sets, 2/3 where one holds the other, 1/3 where they overlap, else 0.
    """
    if one == other:
        return 0.0
    common = one & other
    weight = 2 / 3 if one <= other or other <= one else 1 / 3
    return 1 - weight * len(common) / len(one | other)


def agreement(judgments: Iterable[Judgment]) -> tuple[int, float | None]:
    """How many texts two people or more judged, and alpha of the sets of labels that they gave.

    Args:
        judgments: Those that hold; what people were unsure of does not count.
    """
    sets: dict[str | int, list[Set]] = {}
    for one in judgments:
        if one.verdict is not Verdict.UNSURE:
            sets.setdefault(one.text_id, []).append(frozenset(one.labels))
    shared = [values for values in sets.values() if len(values) > 1]
    return len(shared), alpha(shared, masi, overlapping)
