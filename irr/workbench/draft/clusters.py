"""A corpus of texts, the clusters of its points, and the names of clusters."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from irr import Encoder, Settings, SpanInferer
from irr.batch import rows_of
from irr.errors import TextsError, UsageError
from irr.io.columns import Columns
from irr.io.records import open_rows
from irr.text.strings import short
from irr.text.words import clean, stems
from irr.types import QueryKind

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# Principal directions of the vectors and of the words, and the weight of words beside vectors: chosen on dev
# sets (docs/drafting.md).
_DIRECTIONS = 75
_WORD_WEIGHT = 0.5
# Texts that are encoded between two reports of progress.
_TEXT_BLOCK = 2_048
# More points are first gathered into half as many small clusters, by mini-batch k-means.
_MOST_LINKED = 4_000
_KMEANS_STEPS = 3
# Points that are compared with all centers at a time.
_POINT_BLOCK = 10_000
# The most central texts of a cluster, which are read for names.
_NAMING_TEXTS = 200
# Spans of a cluster that are compared by their vectors.
_SPANS = 20
_ALIASES = 3
_TFIDF_WEIGHT = 0.05
# No span begins or ends in a word that a larger share of the clusters has, where there are enough clusters.
_COMMON = 0.5
_FEWEST_CLUSTERS = 8
# Characters of a text that serves as a name.
_NAME_CHARACTERS = 60


@dataclass(frozen=True)
class Corpus:
    """Distinct texts and their vectors.

    Attributes:
        texts: The cleaned texts, in the order of their first occurrence.
        counts: The number of occurrences of each, shape (texts,).
        vectors: Unit vectors of the encoder, shape (texts, dimensions).
    """

    texts: tuple[str, ...]
    counts: NDArray[np.int64]
    vectors: Floats

    @classmethod
    def read(
        cls, texts: Iterable[str], encoder: Encoder, progress: Callable[[int, int], None] | None = None
    ) -> Corpus:
        """Cleans and encodes texts; those without a visible character are left out.

        `progress` is called with (texts done, texts in all).
        """
        counts = Counter(filter(None, map(clean, texts)))
        if not counts:
            raise UsageError("no text holds anything to read", "give texts")
        distinct, spans = tuple(counts), SpanInferer(Settings().infer)
        vectors = []
        for start in range(0, len(distinct), _TEXT_BLOCK):
            vectors.append(spans.encode(distinct[start : start + _TEXT_BLOCK], encoder))
            if progress:
                progress(min(start + _TEXT_BLOCK, len(distinct)), len(distinct))
        return cls(distinct, np.array(list(counts.values())), np.concatenate(vectors))

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def points(self) -> Floats:
        """Unit vectors for clustering: the principal directions of vectors and words, shape (texts, axes)."""
        from sklearn.decomposition import PCA, TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        if len(self) < 3:
            return self.vectors
        axes = min(_DIRECTIONS, len(self) - 1, self.vectors.shape[1])
        points = unit(PCA(axes, random_state=0).fit_transform(self.vectors))
        words = [sorted(stems([text])) for text in self.texts]
        if len(set().union(*words)) > axes + 1:
            weighted = TfidfVectorizer(analyzer=lambda of: of, sublinear_tf=True).fit_transform(words)
            lexical = TruncatedSVD(axes, random_state=0).fit_transform(weighted)
            points = unit(np.hstack([points, _WORD_WEIGHT * lexical]))
        return points


def texts_of(name: str, columns: Columns) -> tuple[list[str], int]:
    """The texts of an input, and the number of its rows without a readable text; raises `TextsError`."""
    with open_rows(name, columns) as source:
        rows = [row.text if row.error is None else "" for row in rows_of(source)]
        texts = [text for text in rows if clean(text)]
        if not texts:
            raise TextsError(source.name, "no text holds anything to read", "give texts")
    return texts, len(rows) - len(texts)


def unit(rows: NDArray[np.floating]) -> Floats:
    """The rows with length 1, shape (rows, axes)."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    vectors: Floats = (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
    return vectors


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
    """Clusters by average linkage of cosine distances (Sokal & Michener 1958).

    The tree is cut where, seen from the root, `size` clusters first have `least` points; points of smaller
    clusters are in none. If no cut has so many large clusters, smaller ones count too. `points` are unit
    vectors of shape (points, axes); the seed is that of mini-batch k-means for many points.
    """
    size = min(size, len(points))
    small, weights = np.arange(len(points)), np.ones(len(points), np.int64)
    linked = points
    if len(points) > _MOST_LINKED:
        from sklearn.cluster import MiniBatchKMeans

        half = _MOST_LINKED // 2
        kmeans = MiniBatchKMeans(half, random_state=seed, batch_size=4_096, n_init=1, max_iter=10)
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
    for start in range(0, len(points), _POINT_BLOCK):
        block = points[start : start + _POINT_BLOCK] @ centers.T
        nearest[start : start + _POINT_BLOCK] = block.argmax(axis=1)
        similarity[start : start + _POINT_BLOCK] = block.max(axis=1)
    return nearest, similarity


def name_clusters(
    texts: Sequence[Sequence[str]], vectors: Sequence[Floats], encoder: Encoder, taken: Iterable[str] = ()
) -> list[tuple[str, tuple[str, ...]]]:
    """A name and aliases for each cluster; no two of the names are alike.

    Class-based TF-IDF as in BERTopic (Grootendorst 2022, arXiv 2203.05794), with spans for words: the share
    of a cluster's texts that hold the span, times ln(1 + A / f), where f is the sum of these shares over all
    clusters, and A the mean over the clusters of the sum over all spans. The texts of a cluster come with the
    most central first, their vectors have the shape (texts, dimensions), and names in `taken` are not used.
    """
    proposed = _proposed([own[:_NAMING_TEXTS] for own in texts])
    distinct = list(dict.fromkeys(span for scores in proposed for span in scores))
    vector_of = dict(zip(distinct, encoder.encode(distinct), strict=True)) if distinct else {}
    used = {name.casefold() for name in taken}
    names = []
    for own, own_vectors, scores in zip(texts, vectors, proposed, strict=True):
        center = unit(own_vectors.mean(axis=0))
        weights = {
            span: float(vector_of[span] @ center) + _TFIDF_WEIGHT * float(np.log(max(score, 1e-9)))
            for span, score in scores.items()
        }
        free = [span for span in sorted(weights, key=lambda s: -weights[s]) if span.casefold() not in used]
        if free:
            name = free[0]
        else:
            text = short(own[0], _NAME_CHARACTERS)
            numbered = (text, *(f"{text} {number}" for number in range(2, len(used) + 3)))
            name = next(one for one in numbered if one.casefold() not in used)
        used.add(name.casefold())
        names.append((name, tuple(_with_more_words(free)[1 : 1 + _ALIASES])))
    return names


def _with_more_words(spans: Sequence[str]) -> list[str]:
    """The spans without those whose words all occur in one span before them."""
    words_of: dict[str, set[str]] = {}
    for span in spans:
        words = stems([span])
        if not any(words <= known for known in words_of.values()):
            words_of[span] = words
    return list(words_of)


def _proposed(texts: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    """The spans of each cluster with the highest class-based TF-IDF, and that."""
    inferer = SpanInferer(Settings().infer)
    shares: list[dict[str, float]] = []
    sums: defaultdict[str, float] = defaultdict(float)
    clusters_with: Counter[str] = Counter()
    for own in texts:
        counts = Counter(
            span
            for inference in inferer.infer(own)
            for span in {query.text.lower() for query in inference.queries if query.kind is QueryKind.SPAN}
        )
        shares.append({span: number / len(own) for span, number in counts.items()})
        for span, share in shares[-1].items():
            sums[span] += share
        clusters_with.update(span for span in counts if " " not in span)
    mean = sum(sums.values()) / max(1, len(texts))
    most = _COMMON * len(texts) if len(texts) >= _FEWEST_CLUSTERS else len(texts)
    common = {word for word, number in clusters_with.items() if number > most}
    proposed = []
    for own_shares in shares:
        scores = {
            span: share * float(np.log1p(mean / sums[span]))
            for span, share in own_shares.items()
            if common.isdisjoint((span.split()[0], span.split()[-1]))
        }
        best = sorted(scores, key=lambda span: (-scores[span], span))[:_SPANS]
        proposed.append({span: scores[span] for span in best})
    return proposed
