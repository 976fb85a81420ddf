"""The hierarchy of labels: ancestors, depths, cycles and branches, and rankings that agree with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from irr.config import Hierarchy
from irr.errors import InputError, UsageError
from irr.io.streams import read_lines
from irr.labels.space import LabelSpace
from irr.types import RankedLabel

T = TypeVar("T")


def arrange(
    space: LabelSpace, hierarchy: Hierarchy, top_k: int, ranking: Sequence[RankedLabel]
) -> tuple[RankedLabel, ...]:
    """The labels of a ranking that are returned, best first; the ranking is best first, too.

    `none` returns the first `top_k`. `closed` adds all their ancestors: each follows its best descendant,
    nearest first, with that label's score and probability, so that no label scores more than its ancestors.
    `leaves` returns the first `top_k` that have no descendant among them. Cycles are allowed.
    """
    if hierarchy is Hierarchy.CLOSED:
        return _closed(space, ranking[:top_k])
    if hierarchy is Hierarchy.LEAVES:
        return _leaves(space, top_k, ranking)
    return tuple(ranking[:top_k])


def part_of(
    space: LabelSpace,
    within: str | Sequence[str] = (),
    only: Iterable[str] | None = None,
    without: Iterable[str] = (),
) -> NDArray[np.int64]:
    """The numbers of the labels of a part, ascending.

    `within` keeps these labels and their descendants, `only` these labels, `without` leaves labels out.

    Raises:
        UsageError: If an id is unknown, or no label is left.
    """
    chosen = np.ones(len(space), bool)
    if within:
        roots = _numbers(space, [within] if isinstance(within, str) else within)
        chosen[:] = False
        for level in _levels(roots, _children(known_parents(space)).__getitem__):
            chosen[level] = True
    if only is not None:
        chosen &= np.isin(np.arange(len(space)), _numbers(space, only))
    chosen[_numbers(space, without)] = False
    if not chosen.any():
        raise UsageError("this part of the label space holds no label", "name another part")
    return np.flatnonzero(chosen)


def read_ids(path: Path) -> list[str]:
    """Reads a file of label ids, one a line."""
    return [line.strip() for _, line in read_lines(path, InputError) if line.strip()]


def _numbers(space: LabelSpace, ids: Iterable[str]) -> list[int]:
    try:
        return [space.number_of[label] for label in ids]
    except KeyError as e:
        raise UsageError(f'no label has the id "{e.args[0]}"', "name labels by their ids") from e


def ancestors(space: LabelSpace, label_id: str) -> tuple[str, ...]:
    """Ids of all labels above a label, nearest first, without the label itself, even in a cycle."""

    def parents(label: str) -> Iterable[str]:
        return (parent for parent in space[space.number_of[label]].parents if parent in space)

    return tuple(chain.from_iterable(_levels([label_id], parents)))[1:]


def known_parents(space: LabelSpace) -> list[list[int]]:
    """The numbers of each label's parents, each once; parents that are not labels are left out."""
    number_of = space.number_of
    return [
        [number_of[parent] for parent in dict.fromkeys(label.parents) if parent in number_of]
        for label in space
    ]


def depths(parents: Sequence[Sequence[int]]) -> list[int | None]:
    """Steps from each label up to the nearest root; None in and under cycles, which have no root."""
    roots = (number for number, above in enumerate(parents) if not above)
    depth: list[int | None] = [None] * len(parents)
    for steps, level in enumerate(_levels(roots, _children(parents).__getitem__)):
        for number in level:
            depth[number] = steps
    return depth


def cycles(parents: Sequence[Sequence[int]]) -> tuple[list[tuple[int, ...]], int]:
    """One cycle of each strongly connected component, and the number of labels in such components."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = [(number, parent) for number, above in enumerate(parents) for parent in above]
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), (rows, columns)), shape=(len(parents),) * 2)
    component = connected_components(graph, connection="strong")[1].tolist()
    size = Counter(component)
    found: dict[int, tuple[int, ...]] = {}
    for start, group in enumerate(component):
        if group not in found and (size[group] > 1 or start in parents[start]):
            walk, number = [start], start
            walked = {start}
            while (number := next(up for up in parents[number] if component[up] == group)) not in walked:
                walk.append(number)
                walked.add(number)
            found[group] = tuple(walk[walk.index(number) :])
    return list(found.values()), sum(size[group] for group in found)


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
    leaves: dict[str, RankedLabel] = {}
    above: dict[str, set[str]] = {}
    for label in ranking:
        if len(leaves) == top_k:
            break
        above[label.id] = set(ancestors(space, label.id))
        # Labels of one cycle are ancestors of each other; all of them stay.
        for general in above[label.id].intersection(leaves):
            if label.id not in above[general]:
                del leaves[general]
        if not any(label.id in above[other] and other not in above[label.id] for other in leaves):
            leaves[label.id] = label
    return tuple(leaves.values())


def _levels(start: Iterable[T], neighbors: Callable[[T], Iterable[T]]) -> Iterator[list[T]]:
    """A breadth-first walk: yields `start`, then the unvisited neighbors of each level, each once."""
    level = dict.fromkeys(start)
    found = set(level)
    while level:
        yield list(level)
        level = dict.fromkeys(new for one in level for new in neighbors(one) if new not in found)
        found.update(level)


def _children(parents: Sequence[Sequence[int]]) -> list[list[int]]:
    """The numbers of each label's children."""
    found: list[list[int]] = [[] for _ in parents]
    for number, above in enumerate(parents):
        for parent in above:
            found[parent].append(number)
    return found
