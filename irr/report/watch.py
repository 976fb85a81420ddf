"""Follows an evaluation text by text and keeps what the report needs of each: little, as texts are many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

from irr.evaluate import DEPTH
from irr.pipeline import InferRetrieveRank
from irr.texts import GoldRow
from irr.types import Candidate, Match, Prediction, Query

# The ranks that count as found.
TOP = 10
# Queries that are asked alone together.
_ASKED_AT_ONCE = 512


class Fate(StrEnum):
    """Where a gold label ended, in the order of the stages."""

    UNANSWERED = "unanswered"
    UNPROPOSED = "unproposed"
    UNPOOLED = "unpooled"
    LOW = "low"
    FOUND = "found"


@dataclass
class Gold:
    """A gold label of a text.

    Attributes:
        label: Its id.
        fate: Where it ended.
        rank: Its place in the ranking, from 1; None if it is not in it.
        retrieved: Its place among the candidates, before rank; likewise.
        matches: Why retrieval proposed it; or, where it did not come into the pool, none.
        nearest: The query that by itself puts it highest, and the place it gets by that; None if none does.
    """

    label: str
    fate: Fate
    rank: int | None = None
    retrieved: int | None = None
    matches: tuple[Match, ...] = ()
    nearest: tuple[Query, int] | None = None


@dataclass
class Predicted:
    """A label of a text's answer, and why retrieval proposed it."""

    label: str
    score: float
    matches: tuple[Match, ...]


@dataclass
class Seen:
    """What one text came to."""

    id: str
    text: str
    gold: list[Gold]
    predicted: list[Predicted]
    error: str | None
    fallbacks: tuple[str, ...]
    queries: int
    # Kept until the labels that are not in the pool have been looked up.
    asked: Sequence[Query] = field(default=(), repr=False)


class Watcher:
    """Keeps what the report shows; give `watch` to `evaluate`, then call `look_up`.

    Attributes:
        program: The program that is evaluated.
        pool: How many candidates a text gets.
        texts: What each text came to, in order.
    """

    def __init__(self, program: InferRetrieveRank) -> None:
        self.program = program
        self.pool = max(DEPTH, program.settings.candidates)
        self.texts: list[Seen] = []

    def watch(self, row: GoldRow, prediction: Prediction) -> None:
        """Takes one text and its prediction, with its trace."""
        trace = prediction.trace
        if trace is None:
            if prediction.error is None:
                raise ValueError("the prediction carries no trace")
            gold = [Gold(label, Fate.UNANSWERED) for label in dict.fromkeys(row.labels)]
            self.texts.append(Seen(row.id, row.text, gold, [], prediction.error.message, (), 0))
            return
        rank_of = {label.id: rank for rank, label in enumerate(trace.ranking, 1)}
        found = {c.label.id: (rank, c) for rank, c in enumerate(trace.candidates, 1)}
        gold = [_gold(label, rank_of, found) for label in dict.fromkeys(row.labels)]
        lost = any(g.fate is Fate.UNPROPOSED for g in gold)
        self.texts.append(
            Seen(
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
        """Asks the queries of texts with labels outside the pool one by one, to tell why they are.

        A label that one query alone brings into a pool of the same size was proposed, and lost when the
        queries' scores were put together; one that none brings was not proposed.
        """
        for seen in self.texts:
            if seen.asked:
                lost = {g.label: g for g in seen.gold if g.rank is None}
                for query, candidates in self._alone(seen.asked):
                    for rank, candidate in enumerate(candidates, 1):
                        gold = lost.get(candidate.label.id)
                        if gold and (gold.nearest is None or rank < gold.nearest[1]):
                            gold.fate, gold.nearest = Fate.UNPOOLED, (query, rank)
                seen.asked = ()
                on_text()

    @property
    def to_look_up(self) -> int:
        """Texts that `look_up` will ask about."""
        return sum(bool(seen.asked) for seen in self.texts)

    def _alone(self, queries: Iterable[Query]) -> Iterator[tuple[Query, Sequence[Candidate]]]:
        waiting = iter(queries)
        while block := list(islice(waiting, _ASKED_AT_ONCE)):
            found = self.program._retriever.retrieve([[query] for query in block], self.pool)
            yield from zip(block, found, strict=True)


def _gold(label: str, rank_of: dict[str, int], found: dict[str, tuple[int, Candidate]]) -> Gold:
    if label not in found:
        return Gold(label, Fate.UNPROPOSED)
    retrieved, candidate = found[label]
    rank = rank_of[label]
    fate = Fate.FOUND if rank <= TOP else Fate.LOW
    return Gold(label, fate, rank, retrieved, candidate.matches)
