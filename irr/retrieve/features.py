"""Features of a label for a text: named numbers that speak for or against it, as pure array functions.

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
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from irr.retrieve.queries import TextPart
from irr.retrieve.score import Bools, Floats, Ints
from irr.types import EntryKind, QueryKind

# Every feature and what it is, in the order of the columns.
FEATURES: dict[str, str] = {
    "score": "hand-weighted score of the best passages",
    "name_span": "best match of a span with the name",
    "description_span": "best match of a span with the description",
    "name_passage": "best match of a passage with the name or an alias",
    "description_passage": "best match of a passage with the description",
    "passages_mean": "mean match of the passages with the name or an alias",
    "text": "match of the mean of the passages",
    "attributed": "sum of M above 0.5, weighted by a",
    "attributed_spans": "spans above 0.6, weighted by a",
    "first_choice": "spans above 0.6 that match no label better",
    "shared": "sum of M above 0.5, weighted by the share of a among the labels",
    "sum_6": "sum of M above 0.6",
    "rare_6": "sum of M above 0.6, divided by the labels that share the span",
    "sum_7": "sum of M above 0.7",
    "spans_7": "distinct spans above 0.7",
    "passages_7": "passages with a span above 0.7",
    "descriptions": "sum of matches with the description above 0.5",
    "passage_scores": "mean score over the passages",
    "first_passage": "score of the first passage",
    "first_span": "best match of a span of the first passage",
    "words": "word cosine of the best passage",
    "recall": "name recall of the best passage",
    "text_words": "word cosine of the whole text",
    "text_recall": "name recall of the whole text",
    "span_gap": "how much better another label matches the best span",
    "span_z": "best match of a span, in standard deviations over the spans",
    "company": "mean similarity to the 20 labels of the highest scores",
    "centrality": "similarity to the mean of all proposed labels",
    "redundancy": "better labels with the same best span",
    "parent": "score of the best parent",
    "child": "score of the best child",
    "example": "similarity to the nearest example",
    "example_share": "share of the examples with the label, the similar ones first",
}
_TEMPERATURE = 0.05
# Two labels of one name match a span equally, but for the last bits of a product.
_TIE = np.float32(1e-5)
_COMPANY = 20
# Labels whose mean is the origin of every feature but the score.
_REFERENCE = 30
_KINDS = tuple(EntryKind)
# A text of so many passages is as long as can be.
_LONG_PASSAGES = 16
# Log-odds in a point of the score, so that scores keep the spread of the hand-weighted score.
SCALE = 14.0

FeatureWeight = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True)
class ProposedLabels:
    """The labels of a text that features are computed for, those of the highest scores first.

    Attributes:
        labels: Their numbers, shape (labels,).
        common: Which of them are proposed among all labels; the others are compared with these alone.
        vectors: Unit vectors of their entries, a label's name first, shape (entries, dimensions).
        kinds: The kind of each entry, by its position in `EntryKind`, shape (entries,).
        starts: Where the entries of each label begin, shape (labels,).
        known: Features that scoring has computed, by name, each of shape (labels,).
    """

    labels: Ints
    common: Bools
    vectors: Floats
    kinds: NDArray[np.uint8]
    starts: Ints
    known: dict[str, Floats]


@dataclass(frozen=True)
class Features:
    """The features of a text's labels.

    Attributes:
        labels: Label numbers, shape (labels,).
        values: Shape (labels, features), in the order of `FEATURES`; each but the score is relative to its
            mean over the labels of the highest scores.
        passages: How many passages the text has.
        example: Similarity to the nearest example, relative to nothing, shape (labels,).
    """

    labels: Ints
    values: Floats
    passages: int
    example: Floats


def features_of(parts: Sequence[TextPart], vectors: Floats, proposal: ProposedLabels) -> Features:
    """The features of every label in a proposal.

    Args:
        parts: The parts of the text.
        vectors: Unit vectors of the queries, shape (rows, dimensions).
        proposal: The labels.
    """
    passages = [part for part in parts if part.passage is not None]
    found = {**proposal.known, **_of_labels(proposal)}
    if passages:
        found |= _of_passages(passages, vectors, proposal)
        found |= _of_spans(passages, vectors, proposal)
    return scored_features(proposal.labels, proposal.common, found, len(passages))


def scored_features(labels: Ints, common: Bools, known: dict[str, Floats], passages: int) -> Features:
    """Features of which these are known; the others are 0.

    Args:
        labels: As in `ProposedLabels`.
        common: As in `ProposedLabels`.
        known: The values of features, by name, each of shape (labels,).
        passages: How many passages the text has.
    """
    nothing = np.zeros(len(labels), np.float32)
    values = np.stack([known.get(name, nothing) for name in FEATURES], axis=1).astype(np.float32)
    values[:, 1:] -= values[common, 1:][:_REFERENCE].mean(axis=0)
    return Features(labels, values, passages, known.get("example", nothing))


def _of_labels(proposal: ProposedLabels) -> dict[str, Floats]:
    names = proposal.vectors[proposal.starts]
    return {
        "company": names @ names[proposal.common][:_COMPANY].mean(axis=0),
        "centrality": names @ names[proposal.common].mean(axis=0),
    }


def _of_passages(
    passages: Sequence[TextPart], vectors: Floats, proposal: ProposedLabels
) -> dict[str, Floats]:
    held = [part.segments[QueryKind.TEXT].rows for part in passages if QueryKind.TEXT in part.segments]
    if not held:
        return {}
    rows = np.concatenate(held)
    mean = vectors[rows].mean(axis=0)
    mean /= max(float(np.linalg.norm(mean)), 1e-12)
    similarity = np.concatenate([vectors[rows], mean[None]]) @ proposal.vectors.T
    names, descriptions = _named(similarity, proposal), _described(similarity, proposal)
    return {
        "name_passage": names[:-1].max(axis=0),
        "passages_mean": names[:-1].mean(axis=0),
        "description_passage": descriptions[:-1].max(axis=0),
        "text": np.maximum(names[-1], descriptions[-1]),
    }


def _of_spans(passages: Sequence[TextPart], vectors: Floats, proposal: ProposedLabels) -> dict[str, Floats]:
    held = [part.segments[QueryKind.SPAN].rows for part in passages if QueryKind.SPAN in part.segments]
    if not held:
        return {}
    rows, counts = np.unique(np.concatenate(held), return_counts=True)
    similarity = vectors[rows] @ proposal.vectors.T
    matches, descriptions = _named(similarity, proposal), _described(similarity, proposal)
    times = np.log1p(counts).astype(np.float32)
    top = matches[:, proposal.common].max(axis=1, keepdims=True)
    best = matches.argmax(axis=0)
    means = np.exp(np.minimum(matches - top, 0) / np.float32(_TEMPERATURE))
    total = means[:, proposal.common].sum(axis=1, keepdims=True)
    above_5, above_6, above_7 = (np.maximum(matches - np.float32(level), 0) for level in (0.5, 0.6, 0.7))
    at_6, at_7 = above_6 > 0, above_7 > 0
    sharing = 1 + at_6[:, proposal.common].sum(axis=1)
    highest = matches.max(axis=0)
    return {
        "name_span": similarity[:, proposal.starts].max(axis=0),
        "description_span": descriptions.max(axis=0),
        "attributed": _damped(times @ (means * above_5)),
        "attributed_spans": np.log1p(times @ (means * at_6)),
        "first_choice": np.log1p(times @ (at_6 & (matches >= top - _TIE))),
        "shared": _damped(times @ (means / total * above_5)),
        "sum_6": _damped(times @ above_6),
        "rare_6": _damped((times / sharing) @ above_6),
        "sum_7": _damped(times @ above_7),
        "spans_7": np.log1p(at_7.sum(axis=0)),
        "passages_7": np.log1p(sum(at_7[np.searchsorted(rows, own)].any(axis=0) for own in held)),
        "descriptions": _damped(times @ np.maximum(descriptions - np.float32(0.5), 0)),
        "first_span": matches[np.searchsorted(rows, held[0])].max(axis=0),
        "span_gap": np.maximum(top[best, 0] - highest, 0),
        "span_z": (highest - matches.mean(axis=0)) / (matches.std(axis=0) + np.float32(0.02)),
    }


def _named(similarity: Floats, proposal: ProposedLabels) -> Floats:
    """The highest similarity of each query to the name and the aliases of each label."""
    return _highest(similarity, proposal.kinds != _KINDS.index(EntryKind.DESCRIPTION), proposal, -1.0)


def _described(similarity: Floats, proposal: ProposedLabels) -> Floats:
    """The similarity of each query to the description of each label, from 0 up; 0 without one."""
    return _highest(similarity, proposal.kinds == _KINDS.index(EntryKind.DESCRIPTION), proposal, 0.0)


def _highest(
    similarity: Floats, counts: NDArray[np.bool_], proposal: ProposedLabels, otherwise: float
) -> Floats:
    highest: Floats = np.maximum.reduceat(
        np.where(counts, similarity, np.float32(otherwise)), proposal.starts, axis=1
    )
    return highest


def _damped(total: Floats) -> Floats:
    damped: Floats = np.log1p(10 * total)
    return damped


class Combination(BaseModel):
    """The weights of the features.

        score(l) = sum over features f: ((1 - m) · short(f) + m · long(f)) · value(f, l)

    with m = ln(passages) / ln(16), at most 1.

    Attributes:
        short: Weights in a text of one passage, by feature; 0 for those not named.
        long: Weights in a text of 16 passages or more.
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

    def reads(self, passages: int) -> frozenset[str]:
        """The features that have a weight in a text of so many passages."""
        weights = zip(FEATURES, self._weights(passages).tolist(), strict=True)
        return frozenset(name for name, weight in weights if weight)

    @property
    def reads_examples(self) -> bool:
        """Whether a feature of the examples has a weight."""
        return any(name.startswith("example") for name in {*self.short, *self.long})

    def _weights(self, passages: int) -> Floats:
        share = length_share(passages)
        return np.array(
            [(1 - share) * self.short.get(name, 0.0) + share * self.long.get(name, 0.0) for name in FEATURES],
            np.float32,
        )

    def scores(self, features: Features) -> Floats:
        """The score of each label, shape (labels,); comparable within a text."""
        scores: Floats = self.contributions(features).sum(axis=1)
        return scores


# The hand-weighted score alone.
PLAIN = Combination()


def length_share(passages: int) -> float:
    """How long a text is, from 0 for one passage to 1 for 16 or more."""
    return min(1.0, float(np.log(max(passages, 1)) / np.log(_LONG_PASSAGES)))


@cache
def default_combination() -> Combination:
    """The combination that comes with the package; `python -m eval.train_default` makes it."""
    return Combination.model_validate_json(files("irr.retrieve").joinpath("default.json").read_text("utf-8"))
