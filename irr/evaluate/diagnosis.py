"""Finds out where gold labels are lost, for which texts and labels, and which labels are confused."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from irr.encoders.base import Encoder
from irr.evaluate.metrics import DEPTH
from irr.index.store import entries_of
from irr.io.texts import GoldRow
from irr.labels.hierarchy import depths, known_parents
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank
from irr.statistics import Estimate, ratio
from irr.types import Match, Prediction, Query, Trace

# Labels down to this rank count as found.
TOP = 10
# Queries of a text that are asked alone, for each label that was lost.
_NEAREST = 10
# Lower ends of the groups.
_TIMES = (1, 2, 4, 10, 30, 100)
_WORDS = (1, 11, 21, 41, 81, 161, 641)


class GoldOutcome(StrEnum):
    """The outcome of a gold label, in the order of the stages."""

    UNANSWERED = "unanswered"
    UNMATCHED = "unmatched"
    UNRETRIEVED = "unretrieved"
    LOW = "low"
    FOUND = "found"


@dataclass
class GoldLabel:
    """A gold label of a text, given by its id.

    Attributes:
        rank: Its place in the ranking, from 1; None if it is not in it.
        retrieved: Its place among the candidates, before rank; None if it is not among them.
        matches: The matches by which retrieval proposed it; none outside the pool.
        nearest: The query that alone ranks it highest, and its place by that query; None if there is none.
    """

    label: str
    outcome: GoldOutcome
    rank: int | None = None
    retrieved: int | None = None
    matches: tuple[Match, ...] = ()
    nearest: tuple[Query, int] | None = None


class PredictedLabel(NamedTuple):
    """A label of a text's answer, and the matches by which retrieval proposed it."""

    label: str
    score: float
    matches: tuple[Match, ...]


@dataclass
class TextRecord:
    """A text, its gold labels with their outcomes, and the first labels of its answer.

    Attributes:
        error: Why it was not answered; None if it was.
        fallbacks: Stages that worked without their language model, and why.
        queries: The number of its queries.
        to_ask: The queries that `look_up` asks alone.
    """

    id: str | int
    text: str
    gold: list[GoldLabel]
    predicted: list[PredictedLabel]
    error: str | None
    fallbacks: tuple[str, ...]
    queries: int
    to_ask: Sequence[Query] = field(repr=False)


class Diagnosis:
    """Collects the outcome of each gold label; after the last text, `look_up` completes it."""

    reads_trace = True

    def __init__(self, program: InferRetrieveRank) -> None:
        self.program = program
        self.pool = max(DEPTH, program.settings.retrieve.candidates)
        self.texts: list[TextRecord] = []

    def add(self, row: GoldRow, prediction: Prediction) -> None:
        """Takes a text and its prediction with its trace, which only errors lack."""
        trace, error = prediction.trace, prediction.error
        gold = _outcomes(dict.fromkeys(row.labels), trace)
        queries, candidates = (trace.queries, trace.candidates) if trace else ((), ())
        # A hierarchy adds ancestors, which need not be candidates.
        matches_of = {candidate.label.id: candidate.matches for candidate in candidates}
        self.texts.append(
            TextRecord(
                id=row.id,
                text=row.text,
                gold=gold,
                predicted=[
                    PredictedLabel(label.id, label.score, matches_of.get(label.id, ()))
                    for label in prediction.labels[:TOP]
                ],
                error=error.message if error else None,
                fallbacks=tuple(f"{f.stage}: {f.message}" for f in prediction.fallbacks),
                queries=len(queries),
                to_ask=queries if any(one.outcome is GoldOutcome.UNMATCHED for one in gold) else (),
            )
        )

    @property
    def to_look_up(self) -> int:
        """The number of texts that `look_up` will look up."""
        return sum(bool(text.to_ask) for text in self.texts)

    def look_up(self, on_text: Callable[[], None] = lambda: None) -> None:
        """Asks single queries of the texts with gold labels outside the pool, to find out why these are lost.

        For each such label the ten nearest queries are asked. If one of them alone brings the label into its
        first ten, a query matched it, and it was lost when the scores of the queries were put together.
        """
        for text in self.texts:
            if not text.to_ask:
                continue
            lost = [gold for gold in text.gold if gold.rank is None]
            nearest = self._nearest(text.to_ask, lost)
            distinct = sorted({number for numbers in nearest for number in numbers})
            found = self.program.stages.retrieve([[text.to_ask[number]] for number in distinct], TOP)
            ranks_of = {
                number: {candidate.label.id: rank for rank, candidate in enumerate(candidates, 1)}
                for number, candidates in zip(distinct, found, strict=True)
            }
            for gold, numbers in zip(lost, nearest, strict=True):
                hits = [(ranks_of[n][gold.label], n) for n in numbers if gold.label in ranks_of[n]]
                if hits:
                    rank, number = min(hits)
                    gold.outcome, gold.nearest = GoldOutcome.UNRETRIEVED, (text.to_ask[number], rank)
            text.to_ask = ()
            on_text()

    def _nearest(self, queries: Sequence[Query], lost: Sequence[GoldLabel]) -> list[list[int]]:
        """The numbers of the queries that are nearest to any entry of each lost label, nearest first."""
        encode, space = self.program.encoder.encode, self.program.space
        vectors = encode([query.text for query in queries])
        nearest = []
        for gold in lost:
            label = space[space.number_of[gold.label]]
            entries = [text for _, text in entries_of(label, self.program.settings.retrieve.fields)]
            closeness = (vectors @ encode(entries).T).max(axis=1)
            nearest.append((-closeness).argsort(kind="stable")[:_NEAREST].tolist())
        return nearest


def _outcomes(labels: Iterable[str], trace: Trace | None) -> list[GoldLabel]:
    if trace is None:
        return [GoldLabel(label, GoldOutcome.UNANSWERED) for label in labels]
    rank_of = {label.id: rank for rank, label in enumerate(trace.ranking, 1)}
    found = {c.label.id: (place, c.matches) for place, c in enumerate(trace.candidates, 1)}
    outcomes = []
    for label in labels:
        outcome, rank = GoldOutcome.UNMATCHED, rank_of.get(label)
        if rank is not None:
            outcome = GoldOutcome.FOUND if rank <= TOP else GoldOutcome.LOW
        outcomes.append(GoldLabel(label, outcome, rank, *found.get(label, ())))
    return outcomes


class OutcomeShare(NamedTuple):
    """An outcome, the number of its gold labels, and the gain of RP@10 if all of them were found."""

    outcome: GoldOutcome
    labels: int
    gain: float


class ScoreGroup(NamedTuple):
    """The score of a group of texts or labels."""

    name: str
    size: int
    score: Estimate


@dataclass
class Confusion:
    """A gold label and the wrong label ranked above it with the most similar name, both by id.

    Attributes:
        texts: The texts with this confusion, by number.
        missed: The number of these texts in which the gold label is not in the first ten.
        similarity: The similarity of the two names.
    """

    gold: str
    wrong: str
    similarity: float
    texts: list[int] = field(default_factory=list)
    missed: int = 0


def funnel(texts: Sequence[TextRecord]) -> list[OutcomeShare]:
    """The outcomes of all gold labels, in the order of the stages; `unanswered` only if it occurs."""
    by_text = [Counter(gold.outcome for gold in text.gold) for text in texts if text.gold]
    shares = []
    for outcome in GoldOutcome:
        labels = sum(outcomes[outcome] for outcomes in by_text)
        if labels or outcome is not GoldOutcome.UNANSWERED:
            gain = np.mean([_gain(outcomes, outcome) for outcomes in by_text])
            shares.append(OutcomeShare(outcome, labels, float(gain)))
    return shares


def _gain(outcomes: Counter[GoldOutcome], outcome: GoldOutcome) -> float:
    """The gain of a text's RP@10 if its labels with this outcome were found; 0 for those that are found."""
    room = min(TOP, outcomes.total())
    lost = 0 if outcome is GoldOutcome.FOUND else outcomes[outcome]
    return min(room - outcomes[GoldOutcome.FOUND], lost) / room


def by_frequency(texts: Sequence[TextRecord]) -> list[ScoreGroup]:
    """The share of gold labels in the first ten, by how often the label is gold in these texts."""
    times = Counter(gold.label for text in texts for gold in text.gold)
    return _by_label(texts, lambda label: _range(times[label], _TIMES, "once", "times"))


def by_depth(texts: Sequence[TextRecord], space: LabelSpace) -> list[ScoreGroup]:
    """The same by the label's level in the hierarchy, from 1 at the top; empty without a hierarchy."""
    if not any(label.parents for label in space):
        return []
    level = levels(space)
    return _by_label(texts, lambda label: (level[label], f"level {level[label]}"))


def by_length(texts: Sequence[TextRecord]) -> list[ScoreGroup]:
    """RP@10 by the text's length in words."""
    return _grouped(
        (
            _range(max(1, len(text.text.split())), _WORDS, "1 word", "words"),
            number,
            sum(gold.outcome is GoldOutcome.FOUND for gold in text.gold) / min(TOP, len(text.gold)),
        )
        for number, text in enumerate(texts)
        if text.gold
    )


def levels(space: LabelSpace) -> dict[str, int]:
    """The level of each label by its shortest path to the top; 1 without a path to a top, as in a cycle."""
    steps_up = depths(known_parents(space))
    return {label.id: (steps or 0) + 1 for label, steps in zip(space, steps_up, strict=True)}


def _by_label(texts: Sequence[TextRecord], group_of: Callable[[str], tuple[int, str]]) -> list[ScoreGroup]:
    return _grouped(
        (group_of(gold.label), number, gold.outcome is GoldOutcome.FOUND)
        for number, text in enumerate(texts)
        for gold in text.gold
    )


def _grouped(cases: Iterable[tuple[tuple[int, str], int, float]]) -> list[ScoreGroup]:
    """The mean score of each group; a case: its group's position and name, its text's number, its score."""
    scores: dict[tuple[int, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for key, number, score in cases:
        scores[key][number].append(score)
    groups = []
    for (_, name), by_text in sorted(scores.items()):
        sums, sizes = map(sum, by_text.values()), map(len, by_text.values())
        size = sum(map(len, by_text.values()))
        groups.append(ScoreGroup(name, size, ratio(list(sums), list(sizes))))
    return groups


def _range(value: int, edges: Sequence[int], one: str, unit: str) -> tuple[int, str]:
    """The position and the name of the group of a value."""
    place = bisect_right(edges, value) - 1
    first, *above = edges[place : place + 2]
    if not above:
        return place, f"{first}+ {unit}"
    return place, one if first + 1 == above[0] else f"{first}–{above[0] - 1} {unit}"


def confusions(texts: Sequence[TextRecord], space: LabelSpace, encoder: Encoder) -> list[Confusion]:
    """For each gold label with wrong labels above it in the first ten, the one with the most similar name.

    The pairs are sorted by the number of texts times the similarity.
    """
    cases = []
    for number, text in enumerate(texts):
        right = {gold.label for gold in text.gold}
        wrong = [(place, p.label) for place, p in enumerate(text.predicted, 1) if p.label not in right]
        for gold in text.gold:
            above = [label for place, label in wrong if gold.rank is None or place < gold.rank]
            if above:
                cases.append((number, gold, above))
    names = dict.fromkeys(label for _, gold, above in cases for label in (gold.label, *above))
    if not names:
        return []
    row_of = {label: row for row, label in enumerate(names)}
    vectors = encoder.encode([space[space.number_of[label]].name for label in names])
    pairs: dict[tuple[str, str], Confusion] = {}
    for number, gold, above in cases:
        similarity = vectors[[row_of[label] for label in above]] @ vectors[row_of[gold.label]]
        key = gold.label, above[int(similarity.argmax())]
        pair = pairs.setdefault(key, Confusion(*key, float(similarity.max())))
        pair.texts.append(number)
        pair.missed += gold.outcome is not GoldOutcome.FOUND
    return sorted(
        pairs.values(), key=lambda pair: (-len(pair.texts) * pair.similarity, pair.gold, pair.wrong)
    )
