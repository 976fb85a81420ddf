"""Clusters of points by average linkage, refined by spherical k-means, and groups of clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irr.workbench.draft.corpus import Floats, unit

Ints = NDArray[np.int64]

# More points are first gathered into half as many small clusters, by mini-batch k-means.
_MOST_LINKED = 4_000
_KMEANS_STEPS = 3
# Points that are compared with all centers at a time.
_BLOCK = 10_000


@dataclass(frozen=True)
class Clusters:
    """Clusters of points, the largest first.

    Attributes:
        cluster_of: The cluster of each point, shape (points,); -1 for a point in none.
        nearest: The cluster whose center is nearest to each point, shape (points,).
        similarity: The similarity of each point to that center, or to that of its cluster, shape (points,).
        count: The number of clusters.
    """

    cluster_of: Ints
    nearest: Ints
    similarity: Floats
    count: int


def cluster(points: Floats, size: int, least: int, seed: int) -> Clusters:
    """Finds clusters by average linkage of cosine distances (Sokal & Michener 1958).

    The tree is cut where, seen from the root, `size` clusters first have `least` points; points of smaller
    clusters are in none. If no cut has so many large clusters, smaller ones count too. `points` are unit
    vectors of shape (points, axes); the seed is that of mini-batch k-means for many points.
    """
    size = min(size, len(points))
    small, weights = np.arange(len(points)), np.ones(len(points), np.int64)
    linked = points
    if len(points) > _MOST_LINKED:
        from sklearn.cluster import MiniBatchKMeans

        kmeans = MiniBatchKMeans(
            _MOST_LINKED // 2, random_state=seed, batch_size=4_096, n_init=1, max_iter=10
        )
        _, small, weights = np.unique(kmeans.fit_predict(points), return_inverse=True, return_counts=True)
        linked = centers_of(points, small)
    found = _cut_where_large(linked, weights, size, least)[small]
    counts = np.bincount(found)
    largest = np.argsort(-counts, kind="stable")[:size]
    number = np.full(len(counts), -1)
    number[largest] = np.arange(len(largest))
    cluster_of = number[found]
    centers = centers_of(points, cluster_of)
    nearest, similarity = _nearest(points, centers)
    for _ in range(_KMEANS_STEPS):
        moved = np.where(cluster_of >= 0, nearest, -1)
        if len(np.unique(moved[moved >= 0])) < len(centers):
            break  # a cluster would lose its last point
        cluster_of, centers = moved, centers_of(points, moved)
        nearest, similarity = _nearest(points, centers)
    own = np.flatnonzero(cluster_of >= 0)
    similarity[own] = np.einsum("ij,ij->i", points[own], centers[cluster_of[own]])
    return Clusters(cluster_of, np.where(cluster_of >= 0, cluster_of, nearest), similarity, len(centers))


def grouped(centers: Floats, size: int) -> Ints:
    """The group of each cluster, of `size` groups, by average linkage of the centers."""
    found = _cut(_linkage(centers), min(size, len(centers)))
    # Groups are numbered in the order of their first cluster, which is the largest.
    _, first, group = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group]


def centers_of(points: Floats, cluster_of: Ints) -> Floats:
    """The directions of the means of the clusters, shape (clusters, axes)."""
    sums = np.zeros((int(cluster_of.max()) + 1, points.shape[1]), np.float32)
    inside = cluster_of >= 0
    np.add.at(sums, cluster_of[inside], points[inside])
    return unit(sums)


def _linkage(points: Floats) -> NDArray[np.float64]:
    from scipy.cluster.hierarchy import linkage

    if len(points) < 2:
        return np.empty((0, 4))
    tree: NDArray[np.float64] = linkage(points.astype(float), "average", "cosine")
    return tree


def _cut_where_large(points: Floats, weights: Ints, size: int, least: int) -> Ints:
    """The cluster of each point where first, from the root down, `size` clusters have `least` points."""
    tree = _linkage(points)
    sizes = weights.tolist()
    large = sum(count >= least for count in sizes)
    best = size if large < size else len(points)
    for step, (left, right, *_) in enumerate(tree):
        one, other = sizes[int(left)], sizes[int(right)]
        sizes.append(one + other)
        large += (one + other >= least) - (one >= least) - (other >= least)
        if large >= size:
            best = len(points) - step - 1
    return _cut(tree, best)


def _cut(tree: NDArray[np.float64], count: int) -> Ints:
    """The cluster of each leaf when the last merges are undone until there are `count` clusters."""
    leaves = len(tree) + 1
    root = list(range(leaves + len(tree)))
    for step, (left, right, *_) in enumerate(tree[: leaves - count]):
        root[int(left)] = root[int(right)] = leaves + step
    for node in reversed(range(len(root))):
        root[node] = root[root[node]]
    return np.unique(root[:leaves], return_inverse=True)[1].astype(np.int64)


def _nearest(points: Floats, centers: Floats) -> tuple[Ints, Floats]:
    """The nearest center of each point, and its similarity."""
    nearest, similarity = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK] @ centers.T
        nearest[start : start + _BLOCK] = block.argmax(axis=1)
        similarity[start : start + _BLOCK] = block.max(axis=1)
    return nearest, similarity
