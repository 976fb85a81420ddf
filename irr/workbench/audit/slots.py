"""Slots: a text and a label that it has, or might have, and all that speaks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irr.index.examples import SAME
from irr.workbench.audit.reading import Readings, Vectors

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_NEIGHBOURS = 10
# First labels of a ranking, and labels drawn at random, that become slots.
_FIRST = 50
_DRAWN = 30
# Texts that are compared with all others at a time.
_BLOCK = 256


@dataclass(frozen=True)
class Slots:
    """Pairs of a text and a label; every array has one row a slot.

    Attributes:
        text: Numbers of the texts, ascending.
        label: Numbers of the labels.
        given: Whether the label is gold of the text.
        values: What speaks for the pair, shape (slots, features).
        weight: How many pairs of the text and any label the slot stands for.
        rank: The label's place in the ranking of the text, from 1; 0 if it is not in it.
        nearest: The number of the nearest other text that has the label; -1 if none has.
        nearness: How similar that text is.
        share: The share of the nearest texts, each as much as it is similar, that have the label.
    """

    text: Ints
    label: Ints
    given: Bools
    values: Floats
    weight: Floats
    rank: Ints
    nearest: Ints
    nearness: Floats
    share: Floats

    @property
    def from_others(self) -> Bools:
        """Which features say what other texts say, shape (features,)."""
        return np.array([False] * (self.values.shape[1] - 2) + [True] * 2)


def slots_of(readings: Readings, gold: Sequence[Set[int]], labels: int, seed: int = 0) -> Slots:
    """Makes the slots of all texts.

    Args:
        readings: The texts as the program reads them.
        gold: The gold labels of each, by number.
        labels: How many labels there are.
        seed: Of the labels that are drawn.
    """
    rng = np.random.default_rng(seed)
    texts_of: dict[int, list[int]] = {}
    for text, own in enumerate(gold):
        for label in own:
            texts_of.setdefault(label, []).append(text)
    known = _Gold(gold, {label: np.array(texts) for label, texts in texts_of.items()})
    parts = [
        _of_text(text, known, readings, similar, labels, rng)
        for text, similar in enumerate(_similarities(readings.vectors))
        if len(readings.texts[text].labels)
    ]
    fields = Slots.__dataclass_fields__
    return Slots(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in fields})


@dataclass(frozen=True)
class _Gold:
    """The gold labels of each text, and the texts of each gold label, both by number."""

    of: Sequence[Set[int]]
    texts: Mapping[int, Ints]


def _similarities(vectors: Vectors) -> Iterator[Floats]:
    """How similar each text is to every other, 0 to itself and to the same text, shape (texts,)."""
    for start in range(0, len(vectors), _BLOCK):
        block = (vectors[start : start + _BLOCK] @ vectors.T).astype(np.float64)
        for row, similar in enumerate(block, start):
            similar[similar > SAME] = 0
            similar[row] = 0
            yield similar


def _of_text(
    text: int, gold: _Gold, readings: Readings, similar: Floats, labels: int, rng: np.random.Generator
) -> Slots:
    """The slots of one text: its first labels, its gold, that of similar texts, and some at random."""
    reading = readings.texts[text]
    near = np.argsort(-similar, kind="stable")[:_NEIGHBOURS]
    near = near[similar[near] > 0]
    votes: dict[int, float] = {}
    for other in near.tolist():
        for label in gold.of[other]:
            votes[label] = votes.get(label, 0.0) + float(similar[other])
    chosen = list(dict.fromkeys([*reading.labels[:_FIRST].tolist(), *sorted(gold.of[text]), *sorted(votes)]))
    known = set(chosen)
    drawn = [n for n in rng.choice(readings.reference, _DRAWN).tolist() if n not in known]
    drawn = list(dict.fromkeys(drawn))
    weight = np.ones(len(chosen) + len(drawn))
    if drawn:
        weight[len(chosen) :] = max(labels - len(chosen), 1) / len(drawn)
    chosen += drawn
    place_of = {label: place for place, label in enumerate(reading.labels.tolist())}
    places = np.array([place_of.get(label, -1) for label in chosen])
    nearest, nearness = _nearest(text, chosen, gold.texts, similar)
    share = np.array([votes.get(label, 0.0) for label in chosen]) / max(float(similar[near].sum()), 1e-12)
    # How many other texts have a label is no evidence: one that has it leaves itself out, and has one less.
    # What is not in the ranking is no better than its last, and has no words in common with the text.
    outside = np.array([reading.values[-1, 0], 0.0, 0.0, reading.values[:, 3].min()])
    score, recall, cosine, odds = np.where(places[:, None] >= 0, reading.values[places], outside).T
    depth = np.where(places >= 0, places, (len(place_of) + labels) / 2)
    values = [
        score,
        reading.values[0, 0] - score,
        np.log1p(depth),
        recall,
        cosine,
        odds,
        readings.similarity(text, chosen),
        nearness,
        share,
    ]
    return Slots(
        text=np.full(len(chosen), text),
        label=np.array(chosen),
        given=np.array([label in gold.of[text] for label in chosen]),
        values=np.column_stack(values).astype(np.float64),
        weight=weight,
        rank=places + 1,
        nearest=nearest,
        nearness=nearness,
        share=share,
    )


def _nearest(
    text: int, labels: Sequence[int], texts: Mapping[int, Ints], similar: Floats
) -> tuple[Ints, Floats]:
    """Of each label: the nearest other text that has it, and how near that is."""
    nearest, nearness = np.full(len(labels), -1), np.zeros(len(labels))
    nobody = np.zeros(0, np.int64)
    for row, label in enumerate(labels):
        having = texts.get(label, nobody)
        having = having[having != text]
        if len(having):
            nearest[row] = having[similar[having].argmax()]
            nearness[row] = max(0.0, similar[nearest[row]])
    return nearest, nearness
