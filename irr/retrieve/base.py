"""The interface of a retriever: queries to candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from irr.retrieve.scoring import Floats, Ints
from irr.types import Candidate, Query


class Retriever(Protocol):
    """Maps the queries of texts to their candidates, best first."""

    def retrieve(
        self, queries: Sequence[Sequence[Query]], top_k: int, explain: bool = False
    ) -> list[list[Candidate]]:
        """Returns at most `top_k` candidates for each text; with their matches where `explain`."""
        ...

    def within(self, labels: Ints) -> Retriever:
        """The same, with candidates among these labels only."""
        ...

    def nearest(self, text: str, count: int) -> tuple[Ints, Floats]:
        """The labels that have the entries most similar to a text, by number, and how similar those are."""
        ...
