"""Surveys the hierarchy of a label space: roots, depths, unknown parents, cycles."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, ConfigDict

from irr.labels.hierarchy import cycles, depths, known_parents
from irr.labels.space import LabelSpace

_EXAMPLES = 5


class Unknown(BaseModel):
    """Labels with a parent that is not a label, and the first few as (label, parent)."""

    model_config = ConfigDict(frozen=True)

    count: int
    examples: tuple[tuple[str, str], ...]


class Cycles(BaseModel):
    """Labels in cycles, and some cycles as ids, each the parent of the one before it."""

    model_config = ConfigDict(frozen=True)

    count: int
    examples: tuple[tuple[str, ...], ...]


class Tree(BaseModel):
    """Counts of labels by their place in the hierarchy; parents that are not labels are ignored.

    Attributes:
        with_parents: Labels with a parent.
        several_parents: Labels with more than one.
        roots: Labels with children and without a parent.
        alone: Labels with neither.
        leaves: Labels with a parent and without children.
        depths: Labels by their steps from the nearest root; 0 counts roots and labels that are alone.
        unreachable: Labels below no root, which are those in and under cycles.
        unknown_parents: Labels with a parent that is not a label.
        in_cycles: Labels that are their own ancestors.
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
    """Surveys the hierarchy in time linear in labels and parents, cycles included."""
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
