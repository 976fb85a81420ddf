"""Clusters of points: average linkage, cut where so many clusters have enough points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# More points are first gathered into so many small clusters, by mini-batch k-means.
LINKED = 4_000
# After that, points move so often to the center that is nearest, as in spherical k-means.
_STEPS = 3


@dataclass(frozen=True)
class Clusters:
    """What belongs together.

    Attributes:
        of: The cluster of each point, largest cluster first, shape (points,); -1 for what was left over.
        nearest: The cluster whose center is nearest, shape (points,).
        centers: Unit vectors, shape (clusters, axes).
        similarity: Of each point to its nearest center, shape (points,).
    """

    of: Ints
    nearest: Ints
    centers: Floats
    similarity: Floats

    def __len__(self) -> int:
        return len(self.centers)

    def members(self, cluster: int) -> Ints:
        """The points of a cluster, the most central first."""
        rows = np.flatnonzero(self.of == cluster)
        return rows[np.argsort(-self.similarity[rows], kind="stable")]


def cluster(points: Floats, size: int, least: int, seed: int) -> Clusters:
    """Finds clusters by average linkage of cosine distances (Sokal & Michener 1958).

    The tree is cut where `size` clusters first have `least` points, seen from the root; what is in smaller
    ones is left over. Where the points do not suffice for that, clusters may be smaller.

    Args:
        points: Unit vectors, shape (points, axes).
        size: Clusters wanted; there may be fewer where there are fewer points.
        least: Points that a cluster must have.
        seed: Of the gathering of many points.
    """
    size = min(size, len(points))
    small, weights = np.arange(len(points)), np.ones(len(points), np.int64)
    heads = points
    if len(points) > LINKED:
        small, heads, weights = _gathered(points, seed)
    found = _cut(heads, weights, size, least)[small]
    counts = np.bincount(found)
    kept = np.argsort(-counts, kind="stable")[:size]
    number = np.full(len(counts), -1)
    number[kept] = np.arange(len(kept))
    of = number[found]
    centers = centers_of(points, of)
    nearest, similarity = _nearest(points, centers)
    for _ in range(_STEPS):
        moved = np.where(of >= 0, nearest, -1)
        if len(np.unique(moved[moved >= 0])) < len(centers):
            break  # a cluster would lose its last point
        of, centers = moved, centers_of(points, moved)
        nearest, similarity = _nearest(points, centers)
    own = np.flatnonzero(of >= 0)
    similarity[own] = np.einsum("ij,ij->i", points[own], centers[of[own]])
    return Clusters(of, np.where(of >= 0, of, nearest), centers, similarity)


def merged(centers: Floats, size: int) -> Ints:
    """Which of `size` broader groups each cluster is in, by average linkage of the centers."""
    found = _tree_cut(_linkage(centers), min(size, len(centers)))
    # Numbered in the order of their first cluster, which is the largest.
    _, first, group = np.unique(found, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[group]


def tight(points: Floats, similarity: float, least: int) -> list[Ints]:
    """Clusters of at least `least` points whose mean similarity to one another is at least `similarity`.

    By average linkage, cut at one distance; largest first.

    Args:
        points: Unit vectors, shape (points, axes).
        similarity: The cosine.
        least: Points that a cluster must have.
    """
    small = np.arange(len(points))
    if len(points) > LINKED:
        small, points, _ = _gathered(points, 0)
    tree = _linkage(points)
    found = _tree_cut(tree, len(points) - int((tree[:, 2] <= 1 - similarity).sum()))[small]
    members = [np.flatnonzero(found == number) for number in range(int(found.max()) + 1)]
    return sorted((rows for rows in members if len(rows) >= least), key=len, reverse=True)


def centers_of(points: Floats, of: Ints) -> Floats:
    """The directions of the means of the clusters, shape (clusters, axes)."""
    count = int(of.max()) + 1
    centers = np.zeros((count, points.shape[1]), np.float32)
    held = of >= 0
    np.add.at(centers, of[held], points[held])
    unit: Floats = centers / np.maximum(np.linalg.norm(centers, axis=1, keepdims=True), 1e-12)
    return unit


def _gathered(points: Floats, seed: int) -> tuple[Ints, Floats, Ints]:
    from sklearn.cluster import MiniBatchKMeans

    count = LINKED // 2
    kmeans = MiniBatchKMeans(count, random_state=seed, batch_size=4_096, n_init=1, max_iter=10)
    _, small = np.unique(kmeans.fit_predict(points), return_inverse=True)
    return small, centers_of(points, small), np.bincount(small)


def _linkage(points: Floats) -> NDArray[np.float64]:
    from scipy.cluster.hierarchy import linkage

    if len(points) < 2:
        return np.empty((0, 4))
    tree: NDArray[np.float64] = linkage(points.astype(float), "average", "cosine")
    return tree


def _cut(points: Floats, weights: Ints, size: int, least: int) -> Ints:
    """The cluster of each point where first, from the root down, `size` clusters have `least` points."""
    tree = _linkage(points)
    held = [*weights.tolist()]
    big = sum(n >= least for n in held)
    best = size if big < size else len(points)
    for step, (left, right, *_) in enumerate(tree):
        a, b = held[int(left)], held[int(right)]
        held.append(a + b)
        big += (a + b >= least) - (a >= least) - (b >= least)
        if big >= size:
            best = len(points) - step - 1
    return _tree_cut(tree, best)


def _tree_cut(tree: NDArray[np.float64], count: int) -> Ints:
    """The cluster of each leaf when the last merges are undone until there are `count` clusters."""
    leaves = len(tree) + 1
    parent = list(range(leaves + len(tree)))
    for step, (left, right, *_) in enumerate(tree[: leaves - count]):
        parent[int(left)] = parent[int(right)] = leaves + step
    for node in range(len(parent) - 1, -1, -1):
        parent[node] = parent[parent[node]] if parent[node] != node else node
    _, found = np.unique(parent[:leaves], return_inverse=True)
    return found.astype(np.int64)


def _nearest(points: Floats, centers: Floats) -> tuple[Ints, Floats]:
    nearest, similarity = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
    for start in range(0, len(points), 10_000):
        block = points[start : start + 10_000] @ centers.T
        nearest[start : start + 10_000] = block.argmax(axis=1)
        similarity[start : start + 10_000] = block.max(axis=1)
    return nearest, similarity
