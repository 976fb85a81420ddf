"""Records the outcome of each text of an evaluation for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from irr.evaluate.evaluate import DEPTH
from irr.io.texts import GoldRow
from irr.program.program import InferRetrieveRank
from irr.types import Candidate, EntryKind, Match, Prediction, Query

# The ranks that count as found.
TOP = 10
# Queries of a text that are asked alone, for each label that was lost.
_NEAREST = 10


class GoldOutcome(StrEnum):
    """The outcome of a gold label, in the order of the stages."""

    UNANSWERED = "unanswered"
    UNMATCHED = "unmatched"
    UNRETRIEVED = "unretrieved"
    LOW = "low"
    FOUND = "found"


@dataclass
class Gold:
    """A gold label of a text.

    Attributes:
        label: Its id.
        outcome: Its outcome.
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


@dataclass
class Predicted:
    """A label of a text's answer, and the matches by which retrieval proposed it."""

    label: str
    score: float
    matches: tuple[Match, ...]


@dataclass
class TextRecord:
    """A text, its gold labels with their outcomes, and its answer."""

    id: str | int
    text: str
    gold: list[Gold]
    predicted: list[Predicted]
    error: str | None
    fallbacks: tuple[str, ...]
    queries: int
    # Kept until the labels outside the pool have been looked up.
    asked: Sequence[Query] = field(default=(), repr=False)


class Diagnoser:
    """Records the texts for the report; pass `observe` to `evaluate`, then call `look_up`.

    Attributes:
        program: The program that is evaluated.
        pool: The number of candidates of a text.
        texts: What each text came to, in order.
    """

    def __init__(self, program: InferRetrieveRank) -> None:
        self.program = program
        self.pool = max(DEPTH, program.settings.retrieve.candidates)
        self.texts: list[TextRecord] = []

    def observe(self, row: GoldRow, prediction: Prediction) -> None:
        """Records one text and its prediction, with its trace."""
        trace = prediction.trace
        if trace is None:
            if prediction.error is None:
                raise ValueError("the prediction carries no trace")
            gold = [Gold(label, GoldOutcome.UNANSWERED) for label in dict.fromkeys(row.labels)]
            self.texts.append(TextRecord(row.id, row.text, gold, [], prediction.error.message, (), 0))
            return
        rank_of = {label.id: rank for rank, label in enumerate(trace.ranking, 1)}
        found = {c.label.id: (rank, c) for rank, c in enumerate(trace.candidates, 1)}
        gold = [_gold(label, rank_of, found) for label in dict.fromkeys(row.labels)]
        lost = any(g.outcome is GoldOutcome.UNMATCHED for g in gold)
        self.texts.append(
            TextRecord(
                id=row.id,
                text=row.text,
                gold=gold,
                predicted=[
                    Predicted(label.id, label.score, found[label.id][1].matches)
                    for label in prediction.labels[:TOP]
                ],
                error=None,
                fallbacks=tuple(f"{f.stage}: {f.message}" for f in prediction.fallbacks),
                queries=len(trace.queries),
                asked=trace.queries if lost else (),
            )
        )

    def look_up(self, on_text: Callable[[], None] = lambda: None) -> None:
        """Looks up the queries of texts one by one whose gold labels are outside the pool, to find out why.

        Asked are the ten queries nearest to the label. One that one of them alone brings into its first ten
        was proposed, and lost when the queries' scores were put together; else it was not proposed.
        """
        for seen in self.texts:
            if not seen.asked:
                continue
            lost = [gold for gold in seen.gold if gold.rank is None]
            nearest = self._nearest(seen.asked, lost)
            distinct = sorted({number for numbers in nearest for number in numbers})
            groups = [[seen.asked[number]] for number in distinct]
            found = dict(zip(distinct, self.program.stages.retriever.retrieve(groups, TOP), strict=True))
            for gold, numbers in zip(lost, nearest, strict=True):
                ranks = (
                    (rank, number)
                    for number in numbers
                    for rank, candidate in enumerate(found[number], 1)
                    if candidate.label.id == gold.label
                )
                if best := min(ranks, default=None):
                    gold.outcome, gold.nearest = GoldOutcome.UNRETRIEVED, (seen.asked[best[1]], best[0])
            seen.asked = ()
            on_text()

    @property
    def to_look_up(self) -> int:
        """The number of texts that `look_up` will look up."""
        return sum(bool(seen.asked) for seen in self.texts)

    def _nearest(self, queries: Sequence[Query], lost: Sequence[Gold]) -> list[list[int]]:
        """The numbers of the queries that are nearest to any entry of each lost label, nearest first."""
        encode, space = self.program.encoder.encode, self.program.space
        vectors = encode([query.text for query in queries])
        fields = self.program.settings.retrieve.fields
        nearest = []
        for gold in lost:
            label = space[space.number_of[gold.label]]
            entries = [label.name, *(label.aliases if EntryKind.ALIAS in fields else ())]
            if label.description and EntryKind.DESCRIPTION in fields:
                entries.append(label.description)
            closeness = (vectors @ encode(entries).T).max(axis=1)
            nearest.append((-closeness).argsort(kind="stable")[:_NEAREST].tolist())
        return nearest


def _gold(label: str, rank_of: dict[str, int], found: dict[str, tuple[int, Candidate]]) -> Gold:
    if label not in found:
        return Gold(label, GoldOutcome.UNMATCHED)
    retrieved, candidate = found[label]
    rank = rank_of[label]
    outcome = GoldOutcome.FOUND if rank <= TOP else GoldOutcome.LOW
    return Gold(label, outcome, rank, retrieved, candidate.matches)
