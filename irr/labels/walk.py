"""Walks over a graph of labels, level by level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def levels(start: Iterable[T], neighbors: Callable[[T], Iterable[T]]) -> Iterator[list[T]]:
    """A breadth-first walk: yields `start`, then each time the new neighbors of those before, each once."""
    level = dict.fromkeys(start)
    found = set(level)
    while level:
        yield list(level)
        level = dict.fromkeys(new for one in level for new in neighbors(one) if new not in found)
        found.update(level)


def children(parents: Sequence[Sequence[int]]) -> list[list[int]]:
    """The numbers of each label's children."""
    found: list[list[int]] = [[] for _ in parents]
    for number, above in enumerate(parents):
        for parent in above:
            found[parent].append(number)
    return found
