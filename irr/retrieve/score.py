"""The score of a label for a text, as pure functions from arrays to arrays.

For a label l with entries e, the queries q of each kind k in a passage p, and c the cosine:

    match(q, e)  = c(q, e) - margin(k, kind of e) - hubness_penalty · hubness(q)
    best(k, p, l) = max over q, e: match(q, e)
    score(p, l)  = sum over k: weight(k) · best(k, p, l)
                   + (1 + 1/2 · ln(passages))
                     · (name_recall_weight · recall(p, l) + word_cosine_weight · cosine(p, l))
    score(l)     = T · ln(sum over p: exp(score(p, l) / T)) + term_weight · best match with a term
                   + example_weight · similarity to the nearest example of l

Then `score(l) · ln(prior_weight · prior(l) + e)`, the propagation to parents, and the redundancy penalty.
`best_matches` gives the maxima of every part and kind before anything is summed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from irr.labels.space import LabelSpace
from irr.types import QueryKind

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Floats of query-by-entry similarities, and of maxima, held at a time (32 MiB).
BLOCK_FLOATS = 8_388_608
# The score of labels outside the pool, low enough to raise nothing.
_UNSCORED = np.float32(-1e9)


class Segment(NamedTuple):
    """The queries of one kind in one part of a text.

    Attributes:
        kind: The kind.
        rows: The rows of their vectors, shape (queries,).
    """

    kind: QueryKind
    rows: Ints


@dataclass(frozen=True)
class Entries:
    """The index entries of some labels, a label's name first.

    Attributes:
        vectors: Unit vectors, shape (entries, dimensions).
        starts: Where the entries of each label begin, shape (labels,).
        margins: Subtracted from a match with each entry, by kind of query; each of shape (entries,).
    """

    vectors: Floats
    starts: Ints
    margins: Mapping[QueryKind, Floats]


class Matches(NamedTuple):
    """The best matches of segments with labels.

    Attributes:
        best: Of each segment with each label, shape (segments, labels).
        penalties: The hubness penalty of each query, one array of shape (queries,) for each segment.
    """

    best: Floats
    penalties: list[Floats]


def best_matches(
    vectors: Floats, segments: Sequence[Segment], entries: Entries, hubness_penalty: float, hubness_names: int
) -> Matches:
    """The best match of each segment's queries with each label's entries.

    The queries of many segments meet the entries in one product, because each product reads all entries.

    Args:
        vectors: Unit vectors of the queries, shape (rows, dimensions).
        segments: Which rows belong together.
        entries: What they meet.
        hubness_penalty: Weight of a span's hubness.
        hubness_names: Names that hubness is the mean over.
    """
    rows = np.concatenate([segment.rows for segment in segments])
    bounds = np.cumsum([0, *(len(segment.rows) for segment in segments)])
    best = np.full((len(segments), len(entries.starts)), -np.inf, np.float32)
    penalties = np.zeros(len(rows), np.float32)
    size = max(1, BLOCK_FLOATS // len(entries.vectors))
    for first in range(0, len(rows), size):
        similarity = vectors[rows[first : first + size]] @ entries.vectors.T
        last = first + len(similarity)
        begin = int(np.searchsorted(bounds, first, side="right")) - 1
        for number in range(begin, int(np.searchsorted(bounds, last))):
            kind = segments[number].kind
            start, end = max(bounds[number], first), min(bounds[number + 1], last)
            own = similarity[start - first : end - first]
            if kind is QueryKind.SPAN:
                of_names = own[:, entries.starts]
                penalties[start:end] = np.float32(hubness_penalty) * hubness(of_names, hubness_names)
                own -= penalties[start:end, None]
            found = np.maximum.reduceat(own.max(axis=0) - entries.margins[kind], entries.starts)
            np.maximum(best[number], found, out=best[number])
    return Matches(best, np.split(penalties, bounds[1:-1]))


def hubness(similarity: Floats, names: int) -> Floats:
    """How near each query is to labels at large: its mean similarity to the nearest names.

    A query that is near to many labels is weak evidence for one of them (Radovanović et al. 2010, JMLR 11).

    Args:
        similarity: Of queries and names, shape (queries, names).
        names: How many of the nearest the mean is over.

    Returns:
        Shape (queries,).
    """
    count = min(names, similarity.shape[1])
    mean: Floats = np.partition(similarity, -count, axis=1)[:, -count:].mean(axis=1)
    return mean


def weighted_sum(best: Floats, weights: Sequence[float]) -> Floats:
    """The weighted sum of the maxima of each kind, shape (labels,); `best` has the shape (kinds, labels)."""
    total: Floats = np.zeros_like(best[0])
    for of_kind, weight in zip(best, weights, strict=True):
        total += np.float32(weight) * of_kind
    return total


def lexical_factor(passages: int) -> float:
    """By how much word overlap counts more in a text of so many passages.

    Many passages are by chance near to some label, but few of them share its words.
    """
    return float(1 + np.log(max(passages, 1)) / 2)


def soft_maximum(one: Floats, other: Floats, temperature: float) -> Floats:
    """T · ln(exp(one / T) + exp(other / T)), elementwise; the maximum as T goes to 0."""
    t = np.float32(temperature)
    maximum: Floats = t * np.logaddexp(one / t, other / t)
    return maximum


def prior_factor(priors: Floats, weight: float) -> Floats:
    """ln(weight · prior + e) for each label; 1 where the weight or the prior is 0."""
    factor: Floats = np.log(np.float32(weight) * priors + np.float32(np.e))
    return factor


def best_queries(vectors: Floats, penalties: Floats, entries: Entries, kind: QueryKind) -> Ints:
    """Which query meets each label best, shape (labels,).

    Args:
        vectors: Unit vectors of the queries, shape (queries, dimensions).
        penalties: Their hubness penalties, shape (queries,).
        entries: The labels' entries.
        kind: The kind of query.
    """
    matches = vectors @ entries.vectors.T - penalties[:, None] - entries.margins[kind]
    best: Ints = np.maximum.reduceat(matches, entries.starts, axis=1).argmax(axis=0)
    return best


def redundancy(spans: Ints, penalty: float) -> Floats:
    """Penalty · ln(1 + n) for a label when n better ones have the same best span.

    Args:
        spans: The best span of each label, best label first, shape (labels,); -1 for none.
        penalty: Weight.

    Returns:
        Shape (labels,).
    """
    order = np.argsort(spans, kind="stable")
    ordered = spans[order]
    first = np.searchsorted(ordered, ordered)
    better = np.empty(len(spans), np.float32)
    better[order] = np.arange(len(spans)) - first
    better[spans < 0] = 0
    lost: Floats = np.float32(penalty) * np.log1p(better)
    return lost


def top_positive(scores: Floats, count: int) -> Ints:
    """Positions of the highest scores above 0, best first, ties by position."""
    positive = np.flatnonzero(scores > 0)
    return positive[top(scores[positive], count)]


def top(scores: Floats, count: int) -> Ints:
    """Positions of the highest scores, best first, ties by position."""
    if count < len(scores):
        pool = np.flatnonzero(scores >= np.partition(scores, -count)[-count])
    else:
        pool = np.arange(len(scores))
    return pool[np.argsort(-scores[pool], kind="stable")][:count]


@dataclass(frozen=True)
class PassageEvidence:
    """The scores of each label in some parts of a text; each array has the shape (labels,).

    Attributes:
        score: The soft maximum over the passages, plus the score of the terms.
        best: The score of the best passage.
        first: The score of the first passage.
        total: The sum of the scores of the passages.
        recall: Name recall in the best passage.
        cosine: Word cosine in the best passage.
        part: Number of the best passage among the parts.
    """

    score: Floats
    best: Floats
    first: Floats
    total: Floats
    recall: Floats
    cosine: Floats
    part: Ints


def passage_evidence(score: Floats, recall: Floats, cosine: Floats, number: int) -> PassageEvidence:
    """The evidence of one passage."""
    return PassageEvidence(score, score, score, score, recall, cosine, np.full(len(score), number))


def with_terms(passages: PassageEvidence | None, score: Floats, number: int) -> PassageEvidence:
    """The evidence of the passages, if there are any, and of terms, which stand for the whole text."""
    if passages is None:
        nothing = np.zeros_like(score)
        return passage_evidence(score, nothing, nothing, number)
    return replace(passages, score=passages.score + score)


def join_evidence(one: PassageEvidence | None, other: PassageEvidence, temperature: float) -> PassageEvidence:
    """The evidence of some passages, if there are any, and of another; the first wins ties."""
    if one is None:
        return other
    better = other.best > one.best
    return PassageEvidence(
        score=soft_maximum(one.score, other.score, temperature),
        best=np.where(better, other.best, one.best),
        first=one.first,
        total=one.total + other.total,
        recall=np.where(better, other.recall, one.recall),
        cosine=np.where(better, other.cosine, one.cosine),
        part=np.where(better, other.part, one.part),
    )


class ParentPropagation:
    """Lifts labels towards the best of their narrower labels, by the parents that labels name.

        lifted(l) = score(l) + share · max(0, max over l's children: score - score(l))

    A text that says "spearphishing" is about phishing, though nothing in it is near to that label's own
    entries. Parents that the label space does not hold count for nothing.

    Args:
        space: The labels.
        share: The share of the difference that a label gets, in [0, 1].
    """

    def __init__(self, space: LabelSpace, share: float) -> None:
        number_of = space.number_of
        pairs = sorted(
            (number_of[parent], child)
            for child, label in enumerate(space)
            for parent in dict.fromkeys(label.parents)
            if parent in number_of and number_of[parent] != child
        )
        self._count = len(space)
        self._share = np.float32(share)
        self._children = np.array([child for _, child in pairs], np.int64)
        self._parent_of = np.array([parent for parent, _ in pairs], np.int64)
        # Children of one parent stand together, from its start to the next one's.
        self._parents, self._starts = np.unique(self._parent_of, return_index=True)

    def with_parents(self, labels: Ints) -> Ints:
        """These labels and their parents, ascending."""
        return np.union1d(labels, self._parent_of[np.isin(self._children, labels)])

    def lift(self, labels: Ints, scores: Floats) -> Floats:
        """The scores of `labels`, each shape (labels,), lifted by those among them that are narrower."""
        if not len(self._children) or not self._share:
            return scores
        known = np.full(self._count, _UNSCORED)
        known[labels] = scores
        best = np.maximum.reduceat(known[self._children], self._starts)
        known[self._parents] += self._share * np.maximum(0, best - known[self._parents])
        return known[labels]

    def best_parent(self, labels: Ints, scores: Floats) -> Floats:
        """The score of the best parent of each of `labels`, shape (labels,); 0 without a scored parent."""
        if not len(self._children):
            return np.zeros_like(scores)
        known = np.full(self._count, _UNSCORED)
        known[labels] = scores
        best = np.full(self._count, _UNSCORED)
        np.maximum.at(best, self._children, known[self._parent_of])
        parent: Floats = np.where(best > _UNSCORED, best, np.float32(0))[labels]
        return parent
