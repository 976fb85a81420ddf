"""Retrieve: the queries of many texts to candidates, of all labels or of those proposed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from irr.config import RetrieveSettings
from irr.encoders.base import Encoder
from irr.index.examples import ExampleEvidence, ExampleIndex
from irr.index.store import LabelIndex
from irr.retrieve import score as scoring
from irr.retrieve.features import FEATURES, PLAIN, Combination, Features, match_features, relative_features
from irr.retrieve.queries import Pools, TextPart, blocks, parts_of, select
from irr.retrieve.score import Bools, Floats, Ints, ParentPropagation, PassageEvidence, Pool
from irr.types import Candidate, Contribution, Match, Query, QueryKind

_NAMES = tuple(FEATURES)


@dataclass(frozen=True)
class ScoredText:
    """A text that was scored over a pool of labels."""

    parts: Sequence[TextPart]
    vectors: Floats  # unit vectors of queries, shape (rows, dimensions)
    penalties: Sequence[Mapping[QueryKind, Floats]]  # the hubness penalties of each part's queries
    pool: Pool
    evidence: PassageEvidence
    passages: int  # how many of the parts are passages


class LabelRetriever:
    """Proposes labels by the formula of `retrieve.score`, and scores them by the combination of features.

    Up to `exact_entries` index entries, every label is scored. Above, those are that have an entry near a
    query or share words with a passage, their parents, and the labels of examples; the scores are exact all
    the same, but hubness is computed over the names of these labels.
    """

    def __init__(
        self,
        index: LabelIndex,
        encoder: Encoder,
        settings: RetrieveSettings,
        examples: ExampleIndex | None = None,
        combination: Combination = PLAIN,
    ) -> None:
        self._index = index
        self._encoder = encoder
        self._settings = settings
        self._examples = examples
        self._combination = combination
        # Numbers of the labels that may be candidates; None for all.
        self._part: Ints | None = None
        self._propagation = ParentPropagation(index.space, settings.parent_share)
        self._pools = Pools(index, settings, self._propagation, examples)
        priors = np.array([label.prior or 0.0 for label in index.space], np.float32)
        self._factor = np.log(np.float32(settings.prior_weight) * priors + np.float32(np.e))

    def within(self, labels: Ints) -> LabelRetriever:
        """The same, with candidates among these labels, by number, ascending; scores are those among all."""
        part = copy(self)
        part._part = labels
        return part

    def retrieve(
        self, queries: Sequence[Sequence[Query]], top_k: int, explain: bool = False
    ) -> list[list[Candidate]]:
        """Returns at most `top_k` candidates for each text, best first, ties in label order.

        Candidates have their matches and contributions where `explain`.
        """
        results: list[list[Candidate]] = [[] for _ in queries]
        for number, text in self._scored(queries):
            results[number] = self._candidates(text, top_k, explain)
        return results

    def features(self, queries: Sequence[Sequence[Query]], top_k: int) -> list[Features | None]:
        """The features of every label that is proposed for each text; None for a text without queries."""
        results: list[Features | None] = [None] * len(queries)
        for number, text in self._scored(queries):
            results[number] = self._features(text, top_k, quick=False)[0]
        return results

    def nearest(self, text: str, count: int) -> tuple[Ints, Floats]:
        """At most `count` labels, by number, whose best entries are nearest to a text, and their cosines."""
        labels, similar = self._pools.nearest(self._encoder.encode([text])[0])
        if self._part is not None:
            mine = np.isin(labels, self._part)
            labels, similar = labels[mine], similar[mine]
        best = scoring.top(similar, count)
        return labels[best], similar[best]

    def _scored(self, queries: Sequence[Sequence[Query]]) -> Iterator[tuple[int, ScoredText]]:
        """Each text that has queries, by number."""
        queries, known = select(queries, self._encoder, self._pools, self._settings)
        texts = dict.fromkeys(query.text for group in queries for query in group)
        if not texts:
            return
        new = [text for text in texts if text not in known]
        vectors = self._encoder.encode(new)
        if known:
            vectors = np.concatenate([vectors.reshape(len(new), -1), [*known.values()]])
        row_of = {text: row for row, text in enumerate([*new, *known])}
        parts = [parts_of(group, row_of) for group in queries]
        for numbers, pool in self._pools.of_texts(parts, vectors, self._part):
            scored = self._scored_over(pool, [parts[number] for number in numbers], vectors)
            yield from zip(numbers, scored, strict=True)

    def _scored_over(
        self, pool: Pool, texts: Sequence[Sequence[TextPart]], vectors: Floats
    ) -> Iterator[ScoredText]:
        """The texts in order; many are matched together."""
        settings = self._settings
        passages = [sum(part.passage is not None for part in parts) for parts in texts]
        evidence: PassageEvidence | None = None
        penalties: list[Mapping[QueryKind, Floats]] = []
        for block in blocks(texts, scoring.BLOCK_FLOATS // len(pool.labels)):
            segments = [segment for text, number in block for segment in texts[text][number].rows.items()]
            best, lost = scoring.best_matches(
                vectors, segments, pool, settings.hubness_penalty, settings.hubness_names
            )
            first = 0
            for text, number in block:
                parts = texts[text]
                kinds = list(parts[number].rows)
                own = slice(first, first := first + len(kinds))
                penalties.append(dict(zip(kinds, lost[own], strict=True)))
                score = np.zeros(len(pool.labels), np.float32)
                for kind, of_kind in zip(kinds, best[own], strict=True):
                    score += np.float32(settings.kind_weight(kind)) * of_kind
                evidence = self._with_part(
                    evidence, parts[number], number, passages[text], pool.labels, score
                )
                if number == len(parts) - 1:
                    yield ScoredText(parts, vectors, penalties, pool, evidence, passages[text])
                    evidence, penalties = None, []

    def _with_part(
        self,
        evidence: PassageEvidence | None,
        part: TextPart,
        number: int,
        passages: int,
        labels: Ints,
        score: Floats,
    ) -> PassageEvidence:
        """The evidence of the parts before this one, and of this one."""
        settings, passage = self._settings, part.passage
        if passage is None:
            return scoring.with_terms(evidence, score, number)
        recall, cosine = (of_all[labels] for of_all in self._index.words(passage))
        # Many passages are by chance near to some label, but few of them share its words.
        factor = 1 + np.log(passages) / 2
        score = score + np.float32(factor * settings.name_recall_weight) * recall
        score += np.float32(factor * settings.word_cosine_weight) * cosine
        return scoring.with_passage(evidence, score, recall, cosine, number, settings.passage_temperature)

    def _candidates(self, text: ScoredText, top_k: int, explain: bool) -> list[Candidate]:
        """The best labels of a text, best first."""
        features, positions = self._features(text, top_k, quick=True)
        contributions = self._combination.contributions(features)
        final = contributions.sum(axis=1)
        places = np.arange(len(final))
        if self._part is not None:
            places = np.flatnonzero(np.isin(features.labels, self._part))
        candidates = []
        for place in places[scoring.top(final[places], top_k)]:
            at = positions[place]
            label, part = int(features.labels[place]), int(text.evidence.part[at])
            candidates.append(
                Candidate(
                    label=self._index.space[label],
                    matches=self._matches(text, label, part) if explain else (),
                    contributions=_contributions(contributions[place]) if explain else (),
                    score=round(float(final[place]), 6),
                    name_recall=round(float(text.evidence.recall[at]), 6),
                    word_cosine=round(float(text.evidence.cosine[at]), 6),
                    example=round(float(features.example[place]), 6),
                    place=text.parts[part].place,
                )
            )
        return candidates

    def _features(self, text: ScoredText, top_k: int, quick: bool) -> tuple[Features, Ints]:
        """The features of the labels that the scores propose, and their positions in the pool.

        Proposed are the labels of the highest scores and, in a text of many passages, those of the highest
        mean over the passages, and those of the examples that are nearest. Where `quick`, features without a
        weight may be left out.
        """
        settings, labels, evidence = self._settings, text.pool.labels, text.evidence
        examples = self._example(text)
        example, share = examples.nearest[labels], examples.share[labels]
        scores = evidence.score + np.float32(settings.example_weight) * example
        scores = self._propagation.lift(labels, scores * self._factor[labels])
        best, common = self._best(labels, scores, evidence.total, share, top_k)
        spans = self._best_spans(text, labels[best], evidence.part[best])
        reads = self._combination.reads(text.passages) if quick else frozenset(FEATURES)
        known = {
            "score": scores[best] - scoring.redundancy(spans, settings.redundancy_penalty),
            "mean_passage": evidence.total[best] / max(1, text.passages),
            "first_passage": evidence.first[best],
            "shared_words": evidence.cosine[best],
            "nearest_example": example[best],
            "example_share": share[best],
        }
        if "parent" in reads:
            known["parent"] = self._propagation.best_parent(labels, scores)[best]
        if not reads <= known.keys():
            known |= match_features(text.parts, text.vectors, self._pools.pool(labels[best]), common)
        return relative_features(labels[best], common, known, text.passages), best

    def _best(
        self, labels: Ints, scores: Floats, total: Floats, share: Floats, top_k: int
    ) -> tuple[Ints, Bools]:
        """Positions of the labels that are proposed, best first, and which of them are proposed among all."""
        count = self._settings.redundancy_pool * top_k

        def proposed(among: Ints) -> Ints:
            best = (
                scoring.top(scores[among], count),
                scoring.top(total[among], count),
                scoring.top_positive(share[among], count),
            )
            return np.unique(among[np.concatenate(best)])

        among_all = best = proposed(np.arange(len(labels)))
        if self._part is not None:
            mine = np.flatnonzero(np.isin(labels, self._part))
            # What scores higher counts for redundancy, whether it is in the part or not.
            lowest = scores[mine[scoring.top(scores[mine], count)]].min()
            best = np.union1d(best, np.flatnonzero(scores >= lowest))
            best = np.union1d(best, proposed(mine))
        best = best[np.argsort(-scores[best], kind="stable")]
        return best, np.isin(best, among_all)

    def _matches(self, text: ScoredText, label: int, part: int) -> tuple[Match, ...]:
        """The best match of a label with each kind of query in one part of a text, and with its terms."""
        pool = self._pools.pool(np.array([label]))
        first = int(np.searchsorted(self._index.label_of, label))
        terms = [n for n, other in enumerate(text.parts) if other.passage is None and n != part]
        found = []
        for number in (part, *terms):
            for kind, rows in text.parts[number].rows.items():
                scores = text.vectors[rows] @ pool.vectors.T - pool.margins[kind]
                scores -= text.penalties[number][kind][:, None]
                best, entry = np.unravel_index(scores.argmax(), scores.shape)
                query = text.parts[number].queries[kind][int(best)]
                found.append(
                    Match(
                        kind=kind,
                        query=query.text,
                        entry=self._index.entry_text(first + int(entry)),
                        score=round(float(scores[best, entry]), 6),
                        start=query.start,
                        end=query.end,
                    )
                )
        return tuple(found)

    def _example(self, text: ScoredText) -> ExampleEvidence:
        """What the examples say for each label of the space."""
        rows = [part.rows[QueryKind.TEXT] for part in text.parts if QueryKind.TEXT in part.rows]
        if self._examples is None or not rows:
            nothing = np.zeros(len(self._index.space), np.float32)
            return ExampleEvidence(nothing, nothing)
        return self._examples.evidence(text.vectors[np.concatenate(rows)])

    def _best_spans(self, text: ScoredText, labels: Ints, part_of: Ints) -> Ints:
        """The row of each label's best span in its best passage, shape (labels,); -1 for none."""
        best = np.full(len(labels), -1)
        for number in np.unique(part_of):
            rows = text.parts[number].rows.get(QueryKind.SPAN)
            if rows is not None:
                mine = np.flatnonzero(part_of == number)
                penalties, pool = text.penalties[number][QueryKind.SPAN], self._pools.pool(labels[mine])
                best[mine] = rows[scoring.best_spans(text.vectors[rows], penalties, pool)]
        return best


def _contributions(contributions: Floats) -> tuple[Contribution, ...]:
    """What each feature adds to a score, the largest first; those that add nothing are left out."""
    order = np.argsort(-np.abs(contributions), kind="stable")
    return tuple(
        Contribution(feature=_NAMES[at], value=round(float(contributions[at]), 6))
        for at in order.tolist()
        if contributions[at]
    )
