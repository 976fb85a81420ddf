"""How the labels of a label space hang together: roots, depths, parents that are not there, cycles."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, ConfigDict

from irr.labels.hierarchy import cycles, depths, known_parents
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
    parents = known_parents(space)
    above = {parent for known in parents for parent in known}
    unknown = {
        label.id: missing
        for label in space
        if (missing := next((parent for parent in label.parents if parent not in space), None)) is not None
    }
    top = [number for number, known in enumerate(parents) if not known]
    depth = depths(parents)
    some, in_cycles = cycles(parents)
    return Tree(
        with_parents=len(parents) - len(top),
        several_parents=sum(len(known) > 1 for known in parents),
        roots=sum(number in above for number in top),
        alone=sum(number not in above for number in top),
        leaves=sum(bool(known) and number not in above for number, known in enumerate(parents)),
        depths=dict(sorted(Counter(steps for steps in depth if steps is not None).items())),
        unreachable=depth.count(None),
        unknown_parents=Unknown(count=len(unknown), examples=tuple(unknown.items())[:_EXAMPLES]),
        in_cycles=Cycles(
            count=in_cycles,
            examples=tuple(tuple(space[number].id for number in cycle) for cycle in some[:_EXAMPLES]),
        ),
    )
