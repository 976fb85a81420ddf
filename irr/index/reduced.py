"""Finds the entries nearest to a query: by a scan in few dimensions, then by exact cosines."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irr.index.vectors import Floats, new_folder, save_rows

Ints = NDArray[np.int64]

# Dimensions that are scanned; of the energy of names encoded by the default encoder they hold 70 %.
DIMENSIONS = 96
COMPONENTS, REDUCED = "components.npy", "reduced.npy"
# Entries that the components, and the number of entries near a query, are estimated from.
_SAMPLE = 65_536
# Entries whose exact cosine is computed, as a multiple of those asked for.
_SPARE = 2
# Rows of vectors that are projected, and entries that are scanned, at a time.
_BLOCK = 8_192
# Queries that are scanned at a time.
_QUERIES = 256

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReducedScan:
    """The vectors of an index, projected to the directions in which they differ most.

    The cosine of a query and an entry is nearly that of their projections, which cost a quarter to compute.
    Entries whose projected cosine is among the highest are compared exactly.
    """

    vectors: Floats  # unit vectors of the entries, shape (entries, dimensions)
    components: Floats  # orthonormal columns, shape (dimensions, reduced dimensions)
    reduced: Floats  # vectors @ components

    def nearest(self, queries: Floats, count: int) -> Ints:
        """Numbers of the `count` entries nearest to each unit vector, nearest first; approximate.

        `queries` has the shape (queries, dimensions), the answer (queries, count).
        """
        found = np.empty((len(queries), count), np.int64)
        for first in range(0, len(queries), _QUERIES):
            block = queries[first : first + _QUERIES]
            waiting, spare = np.arange(len(block)), _SPARE
            while len(waiting):
                near = self._near(block[waiting], spare * count)
                short = []
                for query, entries in zip(waiting.tolist(), near, strict=True):
                    if len(entries) < count:
                        short.append(query)
                    else:
                        exact = self.vectors[entries] @ block[query]
                        found[first + query] = entries[np.argsort(-exact, kind="stable")[:count]]
                waiting, spare = np.array(short, np.int64), 4 * spare
        return found

    @cached_property
    def _sample(self) -> Floats:
        return self.reduced[_sampled(len(self.reduced))]

    def _near(self, queries: Floats, count: int) -> Iterator[Ints]:
        """About so many entries of the highest projected cosines for each query, ascending; all, if so many.

        They reach the cosine of that entry of a sample whose rank corresponds to `count`.
        """
        total = len(self.reduced)
        if count >= total:
            yield from (np.arange(total) for _ in queries)
            return
        projected = queries @ self.components
        rank = max(1, round(count * len(self._sample) / total))
        floor = np.partition(projected @ self._sample.T, -rank, axis=1)[:, [-rank]]
        hits: list[Ints] = []
        for first in range(0, total, _BLOCK):
            block = self.reduced[first : first + _BLOCK]
            query, entry = np.divmod(np.flatnonzero(projected @ block.T >= floor), len(block))
            hits.append(query * total + first + entry)
        query, entry = np.divmod(np.sort(np.concatenate(hits)), total)
        yield from np.split(entry, np.searchsorted(query, np.arange(1, len(queries))))


def open_reduced(folder: Path, vectors: Floats) -> ReducedScan:
    """The reduced vectors of an index from their folder, where they are written at first use.

    Where they cannot be written, as in an index that is read-only, they are held in memory.
    """
    from filelock import FileLock

    if found := _read(folder, vectors):
        return found
    # Principal components without centring, so that dot products are kept.
    sample = vectors[_sampled(len(vectors))]
    _, directions = np.linalg.eigh(sample.T @ sample)
    components = np.ascontiguousarray(directions[:, ::-1][:, :DIMENSIONS], np.float32)
    try:
        with FileLock(folder.with_suffix(".lock")):
            if not (found := _read(folder, vectors)):
                logger.info("projecting %d vectors to %d dimensions, once", len(vectors), components.shape[1])
                blocks = (vectors[at : at + _BLOCK] @ components for at in range(0, len(vectors), _BLOCK))
                with new_folder(folder) as beside:
                    np.save(beside / COMPONENTS, components)
                    save_rows(beside / REDUCED, blocks, (len(vectors), components.shape[1]))
                found = _read(folder, vectors)
    except OSError as e:
        logger.warning("%s cannot be written (%s): holding it in memory", folder, e.strerror or e)
    return found or ReducedScan(vectors, components, vectors @ components)


def _sampled(count: int) -> Ints:
    """Rows that stand for so many, ascending; by chance, as each label's entries come in the same order."""
    rows = np.random.default_rng(0).choice(count, min(count, _SAMPLE), replace=False, shuffle=False)
    return np.sort(rows)


def _read(folder: Path, vectors: Floats) -> ReducedScan | None:
    """The reduced vectors in a folder; None if there are none, or damaged ones."""
    try:
        components, reduced = np.load(folder / COMPONENTS), np.load(folder / REDUCED, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    if len(components) != vectors.shape[1] or reduced.shape != (len(vectors), components.shape[1]):
        return None
    return ReducedScan(vectors, components, reduced)
