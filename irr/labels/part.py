"""A part of the label space: branches, listed labels, or all but listed labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irr.errors import InputError, UsageError
from irr.labels.hierarchy import known_parents
from irr.labels.space import LabelSpace
from irr.labels.walk import children, levels


def part_of(
    space: LabelSpace,
    within: str | Sequence[str] = (),
    only: Iterable[str] | None = None,
    without: Iterable[str] = (),
) -> NDArray[np.int64]:
    """The numbers of the labels of a part, ascending.

    Args:
        space: All labels.
        within: Ids of labels; the part holds these and their descendants.
        only: Ids of labels; the part holds no others.
        without: Ids of labels that the part leaves out.

    Raises:
        UsageError: If an id is unknown, or no label is left.
    """
    kept = np.ones(len(space), bool)
    if within:
        kept &= _branches(space, _numbers(space, [within] if isinstance(within, str) else within))
    if only is not None:
        listed = np.zeros(len(space), bool)
        listed[_numbers(space, only)] = True
        kept &= listed
    kept[_numbers(space, without)] = False
    if not kept.any():
        raise UsageError("this part of the label space holds no label", "name another part")
    return np.flatnonzero(kept)


def read_ids(path: Path) -> list[str]:
    """Reads a file of label ids, one a line.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        problem = e.strerror if isinstance(e, OSError) else "is not UTF-8"
        raise InputError(path, f"cannot be read ({problem})", "give a file with one label id a line") from e
    return [line.strip() for line in lines if line.strip()]


def _numbers(space: LabelSpace, ids: Iterable[str]) -> list[int]:
    ids = list(ids)
    unknown = next((label for label in ids if label not in space), None)
    if unknown is not None:
        raise UsageError(f'no label has the id "{unknown}"', "name labels by their ids")
    return [space.number_of[label] for label in ids]


def _branches(space: LabelSpace, roots: Sequence[int]) -> NDArray[np.bool_]:
    found = np.zeros(len(space), bool)
    for level in levels(roots, children(known_parents(space)).__getitem__):
        found[level] = True
    return found
