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


@dataclass(frozen=True)
class Pool:
    """Labels that are scored together, and their index entries, label by label, a name first."""

    labels: Ints  # their numbers, ascending, shape (labels,)
    vectors: Floats  # unit vectors, shape (entries, dimensions)
    starts: Ints  # where the entries of each label begin, shape (labels,)
    kinds: NDArray[np.uint8]  # the kind of each entry, by its position in `EntryKind`, shape (entries,)
    margins: Mapping[QueryKind, Floats]  # subtracted from a match with each entry, shape (entries,)


def best_matches(
    vectors: Floats,
    segments: Sequence[tuple[QueryKind, Ints]],
    pool: Pool,
    hubness_penalty: float,
    hubness_names: int,
) -> tuple[Floats, list[Floats]]:
    """The best match of each segment's queries with each label's entries.

    The queries of many segments meet the entries in one product, because each product reads all entries.

    Args:
        vectors: Unit vectors of the queries, shape (rows, dimensions).
        segments: The queries of one kind in one part of a text: the kind, and the rows of their vectors.
        pool: The labels that they meet.
        hubness_penalty: As in `RetrieveSettings`.
        hubness_names: As in `RetrieveSettings`.

    Returns:
        The best matches, shape (segments, labels), and the hubness penalties of each segment's queries.
    """
    rows = np.concatenate([own for _, own in segments])
    bounds = np.cumsum([0, *(len(own) for _, own in segments)])
    best = np.full((len(segments), len(pool.starts)), -np.inf, np.float32)
    penalties = np.zeros(len(rows), np.float32)
    size = max(1, BLOCK_FLOATS // len(pool.vectors))
    for first in range(0, len(rows), size):
        similarity = vectors[rows[first : first + size]] @ pool.vectors.T
        last = first + len(similarity)
        begin = int(np.searchsorted(bounds, first, side="right")) - 1
        for number in range(begin, int(np.searchsorted(bounds, last))):
            kind, _ = segments[number]
            start, end = max(bounds[number], first), min(bounds[number + 1], last)
            own = similarity[start - first : end - first]
            if kind is QueryKind.SPAN:
                penalties[start:end] = np.float32(hubness_penalty) * hubness(
                    own[:, pool.starts], hubness_names
                )
                own -= penalties[start:end, None]
            found = np.maximum.reduceat(own.max(axis=0) - pool.margins[kind], pool.starts)
            np.maximum(best[number], found, out=best[number])
    return best, np.split(penalties, bounds[1:-1])


def hubness(similarity: Floats, names: int) -> Floats:
    """The mean similarity of each query to its nearest `names` names, shape (queries,).

    A query that is near to many labels is weak evidence for one of them (Radovanović et al. 2010, JMLR 11).
    `similarity` has the shape (queries, names).
    """
    count = min(names, similarity.shape[1])
    mean: Floats = np.partition(similarity, -count, axis=1)[:, -count:].mean(axis=1)
    return mean


def best_spans(vectors: Floats, penalties: Floats, pool: Pool) -> Ints:
    """Which span meets each label best, shape (labels,), of vectors of the shape (spans, dimensions)."""
    matches = vectors @ pool.vectors.T - penalties[:, None] - pool.margins[QueryKind.SPAN]
    best: Ints = np.maximum.reduceat(matches, pool.starts, axis=1).argmax(axis=0)
    return best


def redundancy(spans: Ints, penalty: float) -> Floats:
    """Penalty · ln(1 + n) for a label when n better ones have the same best span, shape (labels,).

    `spans` holds the best span of each label, best label first; -1 for none.
    """
    order = np.argsort(spans, kind="stable")
    ordered = spans[order]
    better = np.empty(len(spans), np.float32)
    better[order] = np.arange(len(spans)) - np.searchsorted(ordered, ordered)
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
    """The scores of each label in some parts of a text; each array has the shape (labels,)."""

    score: Floats  # the soft maximum over the passages, plus the score of the terms
    best: Floats  # the score of the best passage
    first: Floats  # the score of the first passage
    total: Floats  # the sum of the scores of the passages
    recall: Floats  # name recall in the best passage
    cosine: Floats  # word cosine in the best passage
    part: Ints  # the number of the best passage among the parts


def with_passage(
    before: PassageEvidence | None,
    score: Floats,
    recall: Floats,
    cosine: Floats,
    number: int,
    temperature: float,
) -> PassageEvidence:
    """The evidence of the passages before, if there are any, and of another; the first wins ties."""
    if before is None:
        return PassageEvidence(score, score, score, score, recall, cosine, np.full(len(score), number))
    t = np.float32(temperature)
    better = score > before.best
    return PassageEvidence(
        score=t * np.logaddexp(before.score / t, score / t),
        best=np.where(better, score, before.best),
        first=before.first,
        total=before.total + score,
        recall=np.where(better, recall, before.recall),
        cosine=np.where(better, cosine, before.cosine),
        part=np.where(better, number, before.part),
    )


def with_terms(passages: PassageEvidence | None, score: Floats, number: int) -> PassageEvidence:
    """The evidence of the passages, if there are any, and of terms, which stand for the whole text."""
    if passages is None:
        nothing = np.zeros_like(score)
        return with_passage(None, score, nothing, nothing, number, temperature=1)
    return replace(passages, score=passages.score + score)


class ParentPropagation:
    """Lifts labels towards the best of their narrower labels, by the parents that labels name.

        lifted(l) = score(l) + share · max(0, max over l's children: score - score(l))

    A text that says "spearphishing" is about phishing, though nothing in it is near to that label's own
    entries. Parents that the label space does not hold count for nothing.
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
