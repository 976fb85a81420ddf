"""Results that agree with the hierarchy: ancestors added, or only the most specific labels kept."""

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
            stands behind the best label that it is above of, nearest first, with that label's score, so that
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


def _closed(space: LabelSpace, labels: Sequence[RankedLabel]) -> tuple[RankedLabel, ...]:
    placed: dict[str, RankedLabel] = {}
    for label in labels:
        placed.setdefault(label.id, label)
        for above in ancestors(space, label.id):
            if above not in placed:
                name = space[space.number_of[above]].name
                placed[above] = RankedLabel(id=above, name=name, score=label.score)
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
