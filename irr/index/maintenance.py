"""Lists, verifies and prunes the label indexes that are kept."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from irr.errors import LabelIndexError
from irr.index.store import KEYS, SPACES, VECTORS, IndexInfo, indexes_of, keys_in
from irr.index.vectors import STORE, VectorStore

_HOME = re.compile("[0-9a-f]{32}")


def list_indexes(root: Path) -> list[IndexInfo]:
    """The indexes under a folder, the one that was opened last first."""
    found = [index for home in root.glob("*") for index in indexes_of(home)]
    return sorted(found, key=lambda index: (index.unused, index.path))


def prune(root: Path, days: float) -> tuple[int, int]:
    """Deletes the indexes that were not opened for `days` days, and vectors that no other index uses.

    Also deletes what interrupted builds left. All of it can be built again.

    Returns:
        How many indexes and how many vectors were deleted.
    """
    from filelock import FileLock

    indexes = vectors = 0
    for home in sorted(path.parent for path in root.glob(f"*/{SPACES}") if _HOME.fullmatch(path.parent.name)):
        with FileLock(home.with_suffix(".lock")):
            spaces = home / SPACES
            old = [index.path for index in indexes_of(home) if index.unused >= days]
            indexes += len(old)
            for path in old:
                shutil.rmtree(path)
            for leftover in [*spaces.glob("*.building"), *spaces.glob("*/*.building")]:
                shutil.rmtree(leftover)
            empty = not any(spaces.iterdir())
            if (home / STORE).is_dir():
                used = {key for file in spaces.glob(f"*/{KEYS}") for key in keys_in(file.parent)}
                with VectorStore(home) as store:
                    unused = [key for key in store.all_keys() if key not in used]
                    if not empty:
                        store.delete(unused)
                vectors += len(unused)
            if empty:
                shutil.rmtree(home)
    return indexes, vectors


def verify(root: Path) -> Iterator[tuple[IndexInfo, str]]:
    """Yields every index and its damage, or "": each vector is compared with the one in Chroma."""
    for index in list_indexes(root):
        yield index, _problem(index)


def _problem(index: IndexInfo) -> str:
    home = index.path.parent.parent
    try:
        keys = keys_in(index.path)
        vectors = np.load(index.path / VECTORS, mmap_mode="r")
    except (OSError, ValueError, EOFError) as e:
        return f"it cannot be read ({e})"
    if not len(keys) == len(vectors) == index.entries:
        return "its files differ in length"
    if not (home / STORE).is_dir():
        return ""  # a server holds the vectors
    try:
        with VectorStore(home) as store:
            held = store.held(keys)
    except LabelIndexError as e:
        return str(e)
    if missing := sum(key not in held for key in keys):
        return f"Chroma lacks {missing:,} of its vectors"
    differ = sum(not np.array_equal(vectors[row], held[key]) for row, key in enumerate(keys))
    return f"{differ:,} of its vectors are not those in Chroma" if differ else ""
