"""Evidence: what a passage says for each label, and how the passages of a text are joined."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from irr.retrieve.scoring import Floats, Ints, soft_maximum


@dataclass(frozen=True)
class Evidence:
    """What some parts of a text say for each label; each array has the shape (labels,).

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


def of_passage(score: Floats, recall: Floats, cosine: Floats, number: int) -> Evidence:
    """The evidence of one passage."""
    return Evidence(score, score, score, score, recall, cosine, np.full(len(score), number))


def of_terms(passages: Evidence | None, score: Floats, number: int) -> Evidence:
    """The evidence of the passages, if there are any, and of terms, which stand for the whole text."""
    if passages is None:
        nothing = np.zeros_like(score)
        return of_passage(score, nothing, nothing, number)
    return replace(passages, score=passages.score + score)


def join(one: Evidence | None, other: Evidence, temperature: float) -> Evidence:
    """The evidence of some passages, if there are any, and of another; the first wins ties."""
    if one is None:
        return other
    better = other.best > one.best
    return Evidence(
        score=soft_maximum(one.score, other.score, temperature),
        best=np.where(better, other.best, one.best),
        first=one.first,
        total=one.total + other.total,
        recall=np.where(better, other.recall, one.recall),
        cosine=np.where(better, other.cosine, one.cosine),
        part=np.where(better, other.part, one.part),
    )
