"""How the labels of a label space hang together: roots, depths, parents that are not there, cycles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from irr.labels.space import LabelSpace

_EXAMPLES = 5


class Unknown(BaseModel):
    """Labels with a parent that is no label, and the first few as (label, parent)."""

    model_config = ConfigDict(frozen=True)

    count: int
    examples: tuple[tuple[str, str], ...]


class Cycles(BaseModel):
    """Labels that are above themselves, and some cycles: ids, each the parent of the one before it."""

    model_config = ConfigDict(frozen=True)

    count: int
    examples: tuple[tuple[str, ...], ...]


class Tree(BaseModel):
    """How labels hang together; parents that are no labels do not count.

    Attributes:
        with_parents: Labels with a parent.
        several_parents: Labels with more than one.
        roots: Labels without a parent that others are under.
        alone: Labels without a parent that nothing is under.
        leaves: Labels with a parent that nothing is under.
        depths: How many labels stand how many steps from the nearest root; 0 are the roots and those alone.
        unreachable: Labels that no root is above of, which is so in and under cycles.
        unknown_parents: Labels with a parent that is no label.
        in_cycles: Labels that are above themselves.
    """

    model_config = ConfigDict(frozen=True)

    with_parents: int
    several_parents: int
    roots: int
    alone: int
    leaves: int
    depths: dict[int, int]
    unreachable: int
    unknown_parents: Unknown
    in_cycles: Cycles


def survey_tree(space: LabelSpace) -> Tree:
    """Surveys parents and children; takes time in proportion to their number, whatever cycles there are."""
    parents: list[list[int]] = []
    children: list[list[int]] = [[] for _ in space]
    unknown: dict[str, str] = {}
    for number, label in enumerate(space):
        known = [space.number_of[parent] for parent in dict.fromkeys(label.parents) if parent in space]
        parents.append(known)
        for parent in known:
            children[parent].append(number)
        if missing := [parent for parent in label.parents if parent not in space]:
            unknown[label.id] = missing[0]
    top = [number for number, known in enumerate(parents) if not known]
    depth = _depths(top, children)
    cycles, in_cycles = _cycles(parents, children)
    return Tree(
        with_parents=len(parents) - len(top),
        several_parents=sum(len(known) > 1 for known in parents),
        roots=sum(bool(children[number]) for number in top),
        alone=sum(not children[number] for number in top),
        leaves=sum(bool(known) and not below for known, below in zip(parents, children, strict=True)),
        depths=dict(sorted(Counter(depth.values()).items())),
        unreachable=len(parents) - len(depth),
        unknown_parents=Unknown(count=len(unknown), examples=tuple(unknown.items())[:_EXAMPLES]),
        in_cycles=Cycles(
            count=in_cycles,
            examples=tuple(tuple(space[number].id for number in cycle) for cycle in cycles[:_EXAMPLES]),
        ),
    )


def _depths(top: Sequence[int], children: Sequence[Sequence[int]]) -> dict[int, int]:
    depth = dict.fromkeys(top, 0)
    level = list(top)
    while level:
        below = dict.fromkeys(child for number in level for child in children[number] if child not in depth)
        depth.update(dict.fromkeys(below, depth[level[0]] + 1))
        level = list(below)
    return depth


def _cycles(
    parents: Sequence[Sequence[int]], children: Sequence[Sequence[int]]
) -> tuple[list[tuple[int, ...]], int]:
    """One cycle of each group of labels that are above one another, and how many labels such groups have.

    The groups are the strongly connected components (Tarjan 1972, without recursion).
    """
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    groups: list[set[int]] = []
    for start in range(len(parents)):
        if start in order:
            continue
        path = [(start, iter(parents[start]))]
        order[start] = low[start] = len(order)
        stack.append(start)
        on_stack.add(start)
        while path:
            number, rest = path[-1]
            for parent in rest:
                if parent not in order:
                    order[parent] = low[parent] = len(order)
                    stack.append(parent)
                    on_stack.add(parent)
                    path.append((parent, iter(parents[parent])))
                    break
                if parent in on_stack:
                    low[number] = min(low[number], order[parent])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[number])
                if low[number] == order[number]:
                    group = set()
                    while number not in group:
                        group.add(stack.pop())
                    on_stack -= group
                    if len(group) > 1 or number in parents[number]:
                        groups.append(group)
    cycles = [_one_cycle(group, parents) for group in sorted(groups, key=min)]
    return cycles, sum(map(len, groups))


def _one_cycle(group: set[int], parents: Sequence[Sequence[int]]) -> tuple[int, ...]:
    walked: dict[int, None] = {}
    number = min(group)
    while number not in walked:
        walked[number] = None
        number = next(parent for parent in parents[number] if parent in group)
    walk = list(walked)
    return tuple(walk[walk.index(number) :])
