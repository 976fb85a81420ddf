"""What a program makes of the texts of a gold file: it is read once, whatever the gold says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import encode_whole
from irr.infer.spans import SpanInferer
from irr.program.program import InferRetrieveRank
from irr.text.words import clean
from irr.types import Candidate, Prediction, QueryKind

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
Ints = NDArray[np.int64]
# Labels of a ranking that are looked at.
DEPTH = 100
# Labels, chosen at random, that stand for all that no text has to do with.
_REFERENCE = 2_000


@dataclass(frozen=True)
class Reading:
    """A text as the program reads it.

    Attributes:
        labels: Numbers of its labels, best first, shape (labels,).
        values: Score, name recall, word cosine and log-odds of the probability (0 without calibration) of
            each, shape (labels, 4).
        words: By number of a label, the words that spoke for it and what of the label they met.
    """

    labels: Ints
    values: Floats
    words: dict[int, tuple[str, str]]


@dataclass(frozen=True)
class Readings:
    """All texts as the program reads them.

    Attributes:
        texts: What it makes of each.
        vectors: Of the texts, shape (texts, dimensions).
        reference: Numbers of labels that were chosen at random.
        names: Vectors of label names, by number, of all labels that are looked at.
    """

    texts: Sequence[Reading]
    vectors: Vectors
    reference: Ints
    names: dict[int, Vectors]

    def similarity(self, text: int, labels: Sequence[int]) -> Floats:
        """The similarity of a text to the names of labels, shape (labels,)."""
        names = np.array([self.names[label] for label in labels])
        similarity: Floats = (names @ self.vectors[text]).astype(np.float64)
        return similarity


def read(
    program: InferRetrieveRank,
    texts: Sequence[str],
    gold: Sequence[int],
    *,
    index_folder: str | Path | None = None,
    on_text: Callable[[], None] = lambda: None,
) -> Readings:
    """Has a program read texts; one that is its example does not speak for itself.

    Args:
        program: The program.
        texts: The texts.
        gold: Numbers of all labels that are gold of any text.
        index_folder: Where its index is kept; the user's cache folder if None.
        on_text: Called after each text.
    """
    program = program.leaving_examples_out()
    found = []
    for prediction in program.batch(texts, min(DEPTH, len(program.space)), trace=True):
        found.append(_reading(program, prediction))
        on_text()
    count = len(program.space)
    reference = np.random.default_rng(0).permutation(count)[:_REFERENCE]
    wanted = sorted({*gold, *reference.tolist(), *(n for one in found for n in one.labels.tolist())})
    passages = map(SpanInferer(program.settings.infer).passage_texts, map(clean, texts))
    vectors = encode_whole(program.encoder, list(passages))  # as examples have them
    names = program.encoder.encode([program.space[number].name for number in wanted])
    return Readings(found, vectors, reference, dict(zip(wanted, names, strict=True)))


def _reading(program: InferRetrieveRank, prediction: Prediction) -> Reading:
    trace = prediction.trace
    if trace is None:
        return Reading(np.zeros(0, np.int64), np.zeros((0, 4)), {})
    number_of = program.space.number_of
    candidate_of = {candidate.label.id: candidate for candidate in trace.candidates}
    ranking = trace.ranking[:DEPTH]
    values = [
        (label.score, known.name_recall, known.word_cosine, _log_odds(label.probability))
        for label in ranking
        for known in (candidate_of[label.id],)
    ]
    numbers = [number_of[label.id] for label in ranking]
    words = (_words(candidate_of[label.id]) for label in ranking)
    return Reading(
        np.array(numbers, np.int64),
        np.array(values, np.float64).reshape(len(ranking), 4),
        {number: found for number, found in zip(numbers, words, strict=True) if found},
    )


def _log_odds(probability: float | None) -> float:
    if probability is None:
        return 0.0
    p = min(max(probability, 1e-6), 1 - 1e-6)
    return float(np.log(p / (1 - p)))


def _words(candidate: Candidate) -> tuple[str, str] | None:
    spans = [match for match in candidate.matches if match.kind is not QueryKind.TEXT]
    best = max(spans, key=lambda match: match.score, default=None)
    return (best.query, best.entry) if best else None
