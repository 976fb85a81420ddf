"""The hierarchy: every walk over parents and children, and results that agree with it."""

from __future__ import annotations

from collections.abc import Sequence

from irr.config import Hierarchy
from irr.labels.space import LabelSpace
from irr.types import RankedLabel


def arrange(
    space: LabelSpace, hierarchy: Hierarchy, top_k: int, ranking: Sequence[RankedLabel]
) -> tuple[RankedLabel, ...]:
    """The labels to return of a ranking.

    Args:
        space: The labels and their parents. Parents that are no labels count for nothing, cycles do no harm.
        hierarchy: `none` gives the first `top_k`. `closed` gives the same and all their ancestors: each
            stands behind the best label that it is above of, nearest first, with that label's score and
            probability, so that
            no label scores more than one above it; there can be more than `top_k`. `leaves` goes down the
            ranking and leaves out what is above another label that it returns, until it has `top_k`.
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
    """Ids of all labels above a label, nearest first; not the label itself, even where it is in a cycle."""
    found = {label_id: None}
    level = [label_id]
    while level:
        above = dict.fromkeys(
            parent
            for label in level
            for parent in space[space.number_of[label]].parents
            if parent in space and parent not in found
        )
        found.update(above)
        level = list(above)
    return tuple(found)[1:]


def known_parents(space: LabelSpace) -> list[list[int]]:
    """The numbers of each label's parents, each once; parents that are no labels are left out."""
    number_of = space.number_of
    return [
        [number_of[parent] for parent in dict.fromkeys(label.parents) if parent in number_of]
        for label in space
    ]


def depths(parents: Sequence[Sequence[int]]) -> list[int | None]:
    """How many steps each label stands from the nearest one without a parent; None where none is above it."""
    children: list[list[int]] = [[] for _ in parents]
    for number, above in enumerate(parents):
        for parent in above:
            children[parent].append(number)
    depth: list[int | None] = [None if above else 0 for above in parents]
    level, steps = [number for number, above in enumerate(parents) if not above], 0
    while level:
        steps += 1
        below = {child for number in level for child in children[number] if depth[child] is None}
        for child in below:
            depth[child] = steps
        level = list(below)
    return depth


def cycles(parents: Sequence[Sequence[int]]) -> tuple[list[tuple[int, ...]], int]:
    """One cycle of each group of labels that are above one another, and how many labels such groups have.

    The groups are the strongly connected components of the graph of parents.
    """
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
        # Labels of one cycle are above each other: none is more specific.
        for general in above[label.id].intersection(kept):
            if label.id not in above[general]:
                del kept[general]
        if not any(label.id in above[other] and other not in above[label.id] for other in kept):
            kept[label.id] = label
    return tuple(kept.values())
