"""Features of a label for a text, as pure array functions, and their combination to a score.

M(s, l) is the highest cosine of span s with the name and the aliases of label l, n(s) the number of passages
that hold s, and a(s, l) = exp((M(s, l) - max over l': M(s, l')) / 0.05) says how far s means l and no other.
Sums over spans are ln(1 + 10 x), so that they stay comparable between texts of different lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from irr.retrieve.queries import TextPart
from irr.retrieve.score import Bools, Floats, Ints, Pool
from irr.types import EntryKind, QueryKind

# Every feature and what it is, in the order of the columns.
FEATURES: dict[str, str] = {
    "score": "hand-weighted score of the best passages",
    "passage_match": "best match of a passage with the name or an alias",
    "specific_matches": "sum of M above 0.5, weighted by a",
    "exclusive_matches": "sum of M above 0.6, divided by the labels that share the span",
    "strong_matches": "sum of M above 0.7",
    "standout_span": "best match of a span, in standard deviations over the spans",
    "mean_passage": "mean score over the passages",
    "first_passage": "score of the first passage",
    "shared_words": "word cosine of the best passage",
    "centrality": "similarity of the name to the mean of the names of all proposed labels",
    "parent": "score of the best parent",
    "nearest_example": "similarity to the nearest example",
    "example_share": "share of the examples with the label, the similar ones first",
}
_TEMPERATURE = 0.05
# Labels whose mean is the origin of every feature but the score.
_REFERENCE = 30
_DESCRIPTION = tuple(EntryKind).index(EntryKind.DESCRIPTION)
# A text of so many passages is as long as can be.
_LONG_PASSAGES = 16
# Log-odds in a point of the score, so that scores keep the spread of the hand-weighted score.
SCALE = 14.0

FeatureWeight = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class Features:
    """The features of a text's labels.

    Columns are in the order of `FEATURES`, each but the score relative to its mean over the labels of the
    highest scores.
    """

    labels: Ints  # label numbers, shape (labels,)
    values: Floats  # shape (labels, features)
    passages: int  # the number of passages of the text
    example: Floats  # similarity to the nearest example, relative to nothing, shape (labels,)


def relative_features(labels: Ints, common: Bools, known: dict[str, Floats], passages: int) -> Features:
    """Features of which these are known; the others are 0.

    Args:
        labels: Label numbers, those of the highest scores first, shape (labels,).
        common: Which of them are proposed among all labels; the others are compared with these alone.
        known: The values of features, by name, each of shape (labels,).
        passages: The passages of the text, counted.
    """
    nothing = np.zeros(len(labels), np.float32)
    values = np.stack([known.get(name, nothing) for name in FEATURES], axis=1).astype(np.float32)
    values[:, 1:] -= values[common, 1:][:_REFERENCE].mean(axis=0)
    return Features(labels, values, passages, known.get("nearest_example", nothing))


def match_features(
    parts: Sequence[TextPart], vectors: Floats, pool: Pool, common: Bools
) -> dict[str, Floats]:
    """The features that compare passages, spans and labels with the names and aliases of labels.

    `vectors` are those of the queries, shape (rows, dimensions); `common` is as in `relative_features`.
    """
    named = pool.kinds != _DESCRIPTION

    def highest(rows: Ints) -> Floats:
        """M of each of these rows and each label."""
        similarity = np.where(named, vectors[rows] @ pool.vectors.T, np.float32(-1))
        matches: Floats = np.maximum.reduceat(similarity, pool.starts, axis=1)
        return matches

    texts, spans = (
        [part.rows[kind] for part in parts if part.passage is not None and kind in part.rows]
        for kind in (QueryKind.TEXT, QueryKind.SPAN)
    )
    names = pool.vectors[pool.starts]
    found: dict[str, Floats] = {"centrality": names @ names[common].mean(axis=0)}
    if texts:
        found["passage_match"] = highest(np.concatenate(texts)).max(axis=0)
    if spans:
        rows, counts = np.unique(np.concatenate(spans), return_counts=True)
        found |= _span_features(highest(rows), counts, common)
    return found


def _span_features(matches: Floats, counts: Ints, common: Bools) -> dict[str, Floats]:
    """Features of M, of shape (spans, labels), and n of each span."""
    weight = np.log1p(counts).astype(np.float32)
    top = matches[:, common].max(axis=1, keepdims=True)
    specific = np.exp(np.minimum(matches - top, 0) / np.float32(_TEMPERATURE))
    above_5, above_6, above_7 = (np.maximum(matches - np.float32(level), 0) for level in (0.5, 0.6, 0.7))
    sharing = 1 + (above_6 > 0)[:, common].sum(axis=1)
    spread = matches.std(axis=0) + np.float32(0.02)
    return {
        "specific_matches": _damped(weight @ (specific * above_5)),
        "exclusive_matches": _damped((weight / sharing) @ above_6),
        "strong_matches": _damped(weight @ above_7),
        "standout_span": (matches.max(axis=0) - matches.mean(axis=0)) / spread,
    }


def _damped(total: Floats) -> Floats:
    damped: Floats = np.log1p(10 * total)
    return damped


class Combination(BaseModel):
    """The weights of the features.

        score(l) = sum over features f: ((1 - m) · short(f) + m · long(f)) · value(f, l)

    with m = ln(passages) / ln(16), at most 1: `short` holds the weights in a text of one passage, and `long`
    those in a text of 16 or more; the weight of a feature that is not named is 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    short: dict[str, FeatureWeight] = {"score": 1.0}
    long: dict[str, FeatureWeight] = {"score": 1.0}

    @model_validator(mode="after")
    def _known(self) -> Combination:
        unknown = sorted({*self.short, *self.long} - set(FEATURES))
        if unknown:
            raise ValueError(f"no feature {unknown[0]}")
        return self

    def contributions(self, features: Features) -> Floats:
        """What each feature adds to the score of each label, shape (labels, features)."""
        return features.values * self._weights(features.passages)

    def scores(self, features: Features) -> Floats:
        """The score of each label, shape (labels,); comparable within a text."""
        scores: Floats = self.contributions(features).sum(axis=1)
        return scores

    def reads(self, passages: int) -> frozenset[str]:
        """The features that have a weight in a text of so many passages."""
        weights = zip(FEATURES, self._weights(passages).tolist(), strict=True)
        return frozenset(name for name, weight in weights if weight)

    @property
    def reads_examples(self) -> bool:
        """Whether a feature of the examples has a weight."""
        return bool({"nearest_example", "example_share"} & {*self.short, *self.long})

    def _weights(self, passages: int) -> Floats:
        share = length_share(passages)
        return np.array(
            [(1 - share) * self.short.get(name, 0.0) + share * self.long.get(name, 0.0) for name in FEATURES],
            np.float32,
        )


# The hand-weighted score alone.
PLAIN = Combination()


def length_share(passages: int) -> float:
    """How long a text is, from 0 for one passage to 1 for 16 or more."""
    return min(1.0, float(np.log(max(passages, 1)) / np.log(_LONG_PASSAGES)))


@cache
def default_combination() -> Combination:
    """The combination that comes with the package; `make weights` makes it."""
    return Combination.model_validate_json(files("irr.retrieve").joinpath("default.json").read_text("utf-8"))
