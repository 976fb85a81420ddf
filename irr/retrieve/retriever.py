"""Retrieve: the queries of many texts to candidates, with one exact, fused score a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from irr.config import Settings
from irr.encoders.sentence_transformers import Encoder
from irr.index.store import LabelIndex
from irr.retrieve.examples import ExampleIndex
from irr.retrieve.parts import Kinds, Part, blocks, parts_of
from irr.retrieve.propagation import ParentPropagation
from irr.types import Candidate, EntryKind, Match, Query, QueryKind

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# Entries that the graph returns for each query when a scan would cost more.
_NEIGHBOURS = 100
# How many labels' names tell how general a span is.
_HIGHEST = 20
# Passages are joined by a soft maximum: the lower, the less the others add to the best.
_SOFT = np.float32(0.05)
# For each label asked for, so many are looked at for the spans they share.
_POOL = 4
# Floats of query-by-entry similarities held at a time (32 MiB).
_BLOCK_FLOATS = 8_388_608


class Retriever(Protocol):
    """Maps the queries of texts to their candidates, best first."""

    def retrieve(
        self, queries: Sequence[Sequence[Query]], top_k: int, explain: bool = False
    ) -> list[list[Candidate]]:
        """Returns at most `top_k` candidates for each text; with their matches where `explain`."""
        ...


class LabelRetriever:
    """Scores labels by their best match with each kind of query in each passage of a text.

    For a label l, its entries e and the queries q of each kind k in a passage p, with c the cosine:

        match(q, e)   = c(q, e) - margin of e's kind - hubness_penalty · h(q)
        words(p, l)   = name_recall_weight · recall(p, l) + word_cosine_weight · cosine(p, l)
        score(p, l)   = sum over k: weight of k · max over q, e: match(q, e)
                        + (1 + 1/2 · ln(number of passages)) · words(p, l)
        score(l)      = 1/20 · ln(sum over p: exp(20 · score(p, l))) + term_weight · best match with a term
                        + example_weight · similarity of the whole text to the nearest example of l

    times log(prior_weight · prior(l) + e) where priors are used. h(q), for spans only, is the mean of q's
    20 highest similarities to any name: what is near to many labels says little for one of them. The sum
    over passages is little more than the best of them, and is more where many speak for a label. The more
    passages, the more of them are near to some label by chance, but few share its words: so words count more.

    Then broader labels are lifted towards their narrower ones (`ParentPropagation`), and of labels that rest
    on the same span all but the best lose redundancy_penalty · ln(1 + how many are better): a span means one
    of them.

    Labels that one kind of query finds get their true score from the others. Above `exact_entries` Chroma's
    graph proposes which labels are scored, with their parents; their matches are exact all the same, and
    h(q) is taken over their names.
    """

    def __init__(
        self,
        index: LabelIndex,
        encoder: Encoder,
        settings: Settings,
        neighbours: ExampleIndex | None = None,
    ) -> None:
        self._index = index
        self._encoder = encoder
        self._settings = settings
        self._neighbours = neighbours
        self._exact = len(index.vectors) <= settings.retrieve.exact_entries
        self._margins: dict[QueryKind, Floats] = {
            query: np.array([settings.retrieve.margin(kind, query) for kind in EntryKind], np.float32)[
                index.kind_of
            ]
            for query in QueryKind
        }
        # A label's entries are those from its start to the next label's; the first is its name.
        self._starts = np.searchsorted(index.label_of, np.arange(len(index.space)))
        self._ends = np.append(self._starts[1:], len(index.label_of))
        self._relatives = ParentPropagation(index.space, settings.retrieve.parent_share)
        priors = np.array([label.prior or 0.0 for label in index.space], np.float32)
        self._factor: Floats = np.log(settings.retrieve.prior_weight * priors + np.float32(np.e))

    def retrieve(
        self, queries: Sequence[Sequence[Query]], top_k: int, explain: bool = False
    ) -> list[list[Candidate]]:
        """Returns at most `top_k` candidates for each text, best first, ties in label order."""
        texts = list(dict.fromkeys(query.text for group in queries for query in group))
        results: list[list[Candidate]] = [[] for _ in queries]
        if not texts:
            return results
        vectors = self._encoder.encode(texts)
        row_of = {text: row for row, text in enumerate(texts)}
        asked = [i for i, group in enumerate(queries) if group]
        parts = [parts_of(queries[i], row_of) for i in asked]
        # What each query's matches lose; filled in as texts are scored.
        lost = np.zeros(len(texts), np.float32)
        scored = self._scan(parts, vectors, lost) if self._exact else self._graph(parts, vectors, lost)
        for i, own, (labels, scores) in zip(asked, parts, scored, strict=True):
            evidence = self._join(own, labels, scores)
            example = self._example(own, vectors)[labels]
            evidence.scores = evidence.scores + np.float32(self._settings.retrieve.example_weight) * example
            final = self._relatives.lift(labels, evidence.scores * self._factor[labels])
            pool = _top(final, _POOL * top_k)
            final = final[pool] - self._shared(own, labels[pool], evidence.part[pool], vectors, lost)
            for top in _top(final, top_k):
                at = pool[top]
                label, part = int(labels[at]), own[int(evidence.part[at])]
                speaking = [part] + [other for other in own if other.passage is None and other is not part]
                results[i].append(
                    Candidate(
                        label=self._index.space[label],
                        score=round(float(final[top]), 6),
                        name_recall=round(float(evidence.coverage[at]), 6),
                        word_cosine=round(float(evidence.likeness[at]), 6),
                        example=round(float(example[at]), 6),
                        place=part.place,
                        matches=self._matches(label, speaking, vectors, lost) if explain else (),
                    )
                )
        return results

    def _example(self, parts: Sequence[Part], vectors: Floats) -> Floats:
        rows = [part.rows[QueryKind.TEXT] for part in parts if QueryKind.TEXT in part.rows]
        if self._neighbours is None or not rows:
            return np.zeros(len(self._index.space), np.float32)
        return self._neighbours.evidence(vectors[np.concatenate(rows)])

    def _scan(
        self, texts: Sequence[Sequence[Part]], vectors: Floats, lost: Floats
    ) -> Iterator[tuple[Ints, Iterator[Floats]]]:
        """Labels, and the scores of each part, for each text, by looking at every entry."""
        labels = np.arange(len(self._index.space))
        kinds = [part.rows for parts in texts for part in parts]
        scores = self._fuse(kinds, vectors, lost, self._index.vectors, self._margins, self._starts)
        for parts in texts:
            yield labels, islice(scores, len(parts))

    def _graph(
        self, texts: Sequence[Sequence[Part]], vectors: Floats, lost: Floats
    ) -> Iterator[tuple[Ints, Iterator[Floats]]]:
        """Labels, and the scores of each part, for each text, of labels that the graph finds near it."""
        near = self._index.nearest(vectors, _NEIGHBOURS)
        for parts in texts:
            rows = np.unique(np.concatenate([rows for part in parts for rows in part.rows.values()]))
            labels = np.unique(self._index.label_of[near[rows].ravel()])
            if self._neighbours is not None:
                labels = np.union1d(labels, self._neighbours.labels)
            labels = self._relatives.with_parents(labels)
            entries, starts = self._entries_of(labels)
            margins = {kind: margin[entries] for kind, margin in self._margins.items()}
            kinds = [part.rows for part in parts]
            yield labels, self._fuse(kinds, vectors, lost, self._index.vectors[entries], margins, starts)

    def _join(self, parts: Sequence[Part], labels: Ints, scores: Iterator[Floats]) -> _Evidence:
        """One score a label from those of a text's parts."""
        passages = sum(part.passage is not None for part in parts)
        lexical = 1 + np.log(max(passages, 1)) / 2
        joined: _Evidence | None = None
        terms = np.zeros(len(labels), np.float32)
        for number, (part, score) in enumerate(zip(parts, scores, strict=True)):
            if part.passage is None:
                terms = score
                continue
            coverage, likeness = (of_all[labels] for of_all in self._index.words(part.passage))
            settings = self._settings
            score += np.float32(lexical * settings.retrieve.name_recall_weight) * coverage
            score += np.float32(lexical * settings.retrieve.word_cosine_weight) * likeness
            if joined is None:
                joined = _Evidence(score, coverage, likeness, np.full(len(labels), number))
                best = score
            else:
                joined.scores = _SOFT * np.logaddexp(joined.scores / _SOFT, score / _SOFT)
                better = score > best
                best = np.where(better, score, best)
                joined.coverage = np.where(better, coverage, joined.coverage)
                joined.likeness = np.where(better, likeness, joined.likeness)
                joined.part[better] = number
        if joined is None:
            nothing = np.zeros(len(labels), np.float32)
            return _Evidence(terms, nothing, nothing, np.zeros(len(labels), np.int64))
        joined.scores = joined.scores + terms
        return joined

    def _shared(
        self, parts: Sequence[Part], labels: Ints, part_of: Ints, vectors: Floats, lost: Floats
    ) -> Floats:
        """What each label, best first, loses for resting on a span that better ones rest on."""
        spans = np.full(len(labels), -1)
        for number in np.unique(part_of):
            rows = parts[number].rows.get(QueryKind.SPAN)
            if rows is None:
                continue
            mine = np.flatnonzero(part_of == number)
            entries, starts = self._entries_of(labels[mine])
            matches = vectors[rows] @ self._index.vectors[entries].T - lost[rows, None]
            matches -= self._margins[QueryKind.SPAN][entries]
            spans[mine] = rows[np.maximum.reduceat(matches, starts, axis=1).argmax(axis=0)]
        better = np.zeros(len(labels), np.float32)
        count: Counter[int] = Counter()
        for place, span in enumerate(spans.tolist()):
            if span >= 0:
                better[place] = count[span]
                count[span] += 1
        lost_by: Floats = np.float32(self._settings.retrieve.redundancy_penalty) * np.log1p(better)
        return lost_by

    def _fuse(
        self,
        texts: Sequence[Kinds],
        vectors: Floats,
        lost: Floats,
        entries: Floats,
        margins: Mapping[QueryKind, Floats],
        starts: Ints,
    ) -> Iterator[Floats]:
        """The weighted sum over kinds of each text's, or part's, best matches with each label.

        Queries of many texts meet the entries in one product: alone, each would read all entries again.
        """
        best: dict[QueryKind, Floats] = {}
        current = 0
        for block in blocks(texts, max(1, _BLOCK_FLOATS // len(entries))):
            similarity = vectors[np.concatenate([rows for _, _, rows in block])] @ entries.T
            first = 0
            for text, kind, rows in block:
                if text != current:
                    yield self._sum(best, margins, starts)
                    best, current = {}, text
                part = similarity[first : first + len(rows)]
                first += len(rows)
                if kind is QueryKind.SPAN:
                    lost[rows] = self._generality(part[:, starts])
                    part -= lost[rows, None]
                highest = part.max(axis=0)
                best[kind] = np.maximum(best[kind], highest) if kind in best else highest
        yield self._sum(best, margins, starts)

    def _sum(
        self, best: dict[QueryKind, Floats], margins: Mapping[QueryKind, Floats], starts: Ints
    ) -> Floats:
        scores = np.zeros(len(starts), np.float32)
        for kind, highest in best.items():
            scores += self._settings.retrieve.kind_weight(kind) * np.maximum.reduceat(
                highest - margins[kind], starts
            )
        return scores

    def _generality(self, similarity: Floats) -> Floats:
        """What each span's matches lose, from its similarities to names, shape (spans, names)."""
        count = min(_HIGHEST, similarity.shape[1])
        highest = np.partition(similarity, -count, axis=1)[:, -count:]
        lost: Floats = self._settings.retrieve.hubness_penalty * highest.mean(axis=1)
        return lost

    def _entries_of(self, labels: Ints) -> tuple[Ints, Ints]:
        """The entries of these labels, one label after the other, and where each label's begin."""
        counts = self._ends[labels] - self._starts[labels]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.repeat(self._starts[labels] - starts, counts) + np.arange(counts.sum()), starts

    def _matches(self, label: int, parts: Sequence[Part], vectors: Floats, lost: Floats) -> tuple[Match, ...]:
        own = slice(self._starts[label], self._ends[label])
        found = []
        for part in parts:
            for kind, rows in part.rows.items():
                scores = vectors[rows] @ self._index.vectors[own].T - lost[rows, None]
                scores -= self._margins[kind][own]
                best, entry = np.unravel_index(scores.argmax(), scores.shape)
                query = part.queries[kind][int(best)]
                found.append(
                    Match(
                        kind=kind,
                        query=query.text,
                        entry=self._index.entry_text(int(self._starts[label] + entry)),
                        score=round(float(scores[best, entry]), 6),
                        start=query.start,
                        end=query.end,
                    )
                )
        return tuple(found)


@dataclass
class _Evidence:
    """What a text's parts say together; each of shape (labels,).

    Attributes:
        scores: Summed softly over the passages.
        coverage: In the passage that speaks most for the label.
        likeness: Likewise.
        part: That passage's number among the parts.
    """

    scores: Floats
    coverage: Floats
    likeness: Floats
    part: Ints


def _top(scores: Floats, top_k: int) -> Ints:
    """Positions of the highest scores, best first, ties by position."""
    if top_k < len(scores):
        floor = np.partition(scores, -top_k)[-top_k]
        pool = np.flatnonzero(scores >= floor)
    else:
        pool = np.arange(len(scores))
    return pool[np.argsort(-scores[pool], kind="stable")][:top_k]
