"""The hierarchy: ancestors, depths and cycles, and rankings arranged by them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from irr.config import Hierarchy
from irr.labels.space import LabelSpace
from irr.labels.walk import children, levels
from irr.types import RankedLabel


def arrange(
    space: LabelSpace, hierarchy: Hierarchy, top_k: int, ranking: Sequence[RankedLabel]
) -> tuple[RankedLabel, ...]:
    """The labels of a ranking that are returned.

    Args:
        space: The labels and their parents. Parents that are not labels are ignored; cycles are allowed.
        hierarchy: `none` returns the first `top_k`. `closed` adds all their ancestors: each follows its best
            descendant, nearest first, with that label's score and probability, so that no label scores more
            than its ancestors. `leaves` returns the first `top_k` that have no descendant among them.
        top_k: How many labels to take of the ranking.
        ranking: Labels, best first.

    Returns:
        The labels, best first, each once.
    """
    match hierarchy:
        case Hierarchy.CLOSED:
            return _closed(space, ranking[:top_k])
        case Hierarchy.LEAVES:
            return _leaves(space, top_k, ranking)
        case _:
            return tuple(ranking[:top_k])


def ancestors(space: LabelSpace, label_id: str) -> tuple[str, ...]:
    """Ids of all labels above a label, nearest first, without the label itself, even in a cycle."""

    def parents(label: str) -> Iterable[str]:
        return (parent for parent in space[space.number_of[label]].parents if parent in space)

    return tuple(label for level in levels([label_id], parents) for label in level)[1:]


def known_parents(space: LabelSpace) -> list[list[int]]:
    """The numbers of each label's parents, each once; parents that are not labels are left out."""
    number_of = space.number_of
    return [
        [number_of[parent] for parent in dict.fromkeys(label.parents) if parent in number_of]
        for label in space
    ]


def depths(parents: Sequence[Sequence[int]]) -> list[int | None]:
    """Steps from each label up to the nearest root; None where it has none, in and under cycles."""
    roots = (number for number, above in enumerate(parents) if not above)
    depth: list[int | None] = [None] * len(parents)
    for steps, level in enumerate(levels(roots, children(parents).__getitem__)):
        for number in level:
            depth[number] = steps
    return depth


def cycles(parents: Sequence[Sequence[int]]) -> tuple[list[tuple[int, ...]], int]:
    """One cycle of each strongly connected component, and the number of labels in such components."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = [(number, parent) for number, above in enumerate(parents) for parent in above]
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    graph = coo_array(([1] * len(pairs), (rows, columns)), shape=(len(parents),) * 2)
    _, component = connected_components(graph, connection="strong")
    groups: dict[int, set[int]] = {}
    for number, group in enumerate(component.tolist()):
        groups.setdefault(group, set()).add(number)
    found = [group for group in groups.values() if len(group) > 1 or min(group) in parents[min(group)]]
    return [_one_cycle(group, parents) for group in sorted(found, key=min)], sum(map(len, found))


def _one_cycle(group: set[int], parents: Sequence[Sequence[int]]) -> tuple[int, ...]:
    walked: dict[int, None] = {}
    number = min(group)
    while number not in walked:
        walked[number] = None
        number = next(parent for parent in parents[number] if parent in group)
    walk = list(walked)
    return tuple(walk[walk.index(number) :])


def _closed(space: LabelSpace, labels: Sequence[RankedLabel]) -> tuple[RankedLabel, ...]:
    placed: dict[str, RankedLabel] = {}
    for label in labels:
        placed.setdefault(label.id, label)
        for above in ancestors(space, label.id):
            if above not in placed:
                name = space[space.number_of[above]].name
                placed[above] = label.model_copy(update={"id": above, "name": name})
    return tuple(placed.values())


def _leaves(space: LabelSpace, top_k: int, ranking: Sequence[RankedLabel]) -> tuple[RankedLabel, ...]:
    kept: dict[str, RankedLabel] = {}
    above: dict[str, set[str]] = {}
    for label in ranking:
        if len(kept) == top_k:
            break
        above[label.id] = set(ancestors(space, label.id))
        # Labels of one cycle are ancestors of each other; all of them stay.
        for general in above[label.id].intersection(kept):
            if label.id not in above[general]:
                del kept[general]
        if not any(label.id in above[other] and other not in above[label.id] for other in kept):
            kept[label.id] = label
    return tuple(kept.values())
