"""Lists, verifies and prunes the label indexes that are kept."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from irr.errors import LabelIndexError
from irr.index.store import ABOUT, KEYS, SPACES, STORE, VECTORS, collection_of, keys_in
from irr.index.vectors import VectorStore

_DAY = 86_400
# Folders that interrupted builds left.
_LEFTOVERS = ("*.building", "*/*.building")
_OURS = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class IndexInfo:
    """A label index in the folder of indexes.

    Attributes:
        path: Its folder.
        encoder: The encoder's name.
        labels: Its labels, counted.
        entries: Their entries, counted.
        size: Bytes on disk.
        unused: Days since it was last opened.
    """

    path: Path
    encoder: str
    labels: int
    entries: int
    size: int
    unused: float


def list_indexes(root: Path) -> list[IndexInfo]:
    """The indexes under a folder, last used first."""
    found = []
    for file in root.glob(f"*/{SPACES}/*/{ABOUT}"):
        try:
            about = json.loads(file.read_text("utf-8"))
            facts = (str(about["encoder"]), int(about["labels"]), int(about["entries"]))
        except (OSError, ValueError, KeyError):
            continue
        unused = (time.time() - file.stat().st_mtime) / _DAY
        found.append(IndexInfo(file.parent, *facts, _size(file.parent), unused))
    return sorted(found, key=lambda index: (index.unused, index.path))


def prune(root: Path, days: float) -> tuple[int, int]:
    """Deletes the indexes that were not opened for `days` days, and vectors that no other index uses.

    Also deletes the leftovers of interrupted builds. All of it can be built again.

    Returns:
        How many indexes and how many vectors were deleted.
    """
    from filelock import FileLock

    indexes = vectors = 0
    for home in _homes(root, SPACES):
        with FileLock(home.with_suffix(".lock")):
            for index in list_indexes(root):
                if index.path.parent.parent == home and index.unused >= days:
                    shutil.rmtree(index.path)
                    indexes += 1
            for pattern in _LEFTOVERS:
                for leftover in home.glob(f"{SPACES}/{pattern}"):
                    shutil.rmtree(leftover)
            if not list(home.glob(f"{SPACES}/*")):
                vectors += len(_held(home))
                shutil.rmtree(home)
            elif (home / STORE).is_dir():
                used = {key for file in home.glob(f"{SPACES}/*/{KEYS}") for key in keys_in(file.parent)}
                with VectorStore(home / STORE, collection_of(home)) as store:
                    unused = [key for key in store.all_keys() if key not in used]
                    store.delete(unused)
                vectors += len(unused)
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
        with VectorStore(home / STORE, collection_of(home)) as store:
            held = store.held(keys)
    except LabelIndexError as e:
        return str(e)
    if missing := sum(key not in held for key in keys):
        return f"Chroma lacks {missing:,} of its vectors"
    differ = sum(not np.array_equal(vectors[row], held[key]) for row, key in enumerate(keys))
    return f"{differ:,} of its vectors are not those in Chroma" if differ else ""


def _homes(root: Path, name: str) -> list[Path]:
    """The folders of encoders under `root` that hold a file or folder of this name."""
    return sorted(path.parent for path in root.glob(f"*/{name}") if _OURS.fullmatch(path.parent.name))


def _held(home: Path) -> list[str]:
    if not (home / STORE).is_dir():
        return []
    with VectorStore(home / STORE, collection_of(home)) as store:
        return store.all_keys()


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
