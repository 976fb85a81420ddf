"""The evidence of an audit: pairs of a text and a label that it has or might have, with their features."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irr import InferRetrieveRank, Prediction, SpanInferer
from irr.text.words import clean
from irr.types import QueryKind

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Vectors = NDArray[np.float32]
Pairs = NDArray[np.void]

# The features of a pair, the last two from the gold of other texts. The number of texts that have a label is
# not a feature: leave-one-out makes it one lower for texts that have the label, and leaks the gold.
FROM_OTHER_TEXTS = ("neighbour_similarity", "neighbour_share")
FEATURES = (
    "score",
    "score_below_first",
    "log_rank",
    "name_recall",
    "word_cosine",
    "log_odds",
    "name_similarity",
    *FROM_OTHER_TEXTS,
)
# A pair: the numbers of text and label, whether the label is gold of the text, the sampling weight (the
# number of pairs that it represents), the label's rank from 1 (0 outside the ranking), and the number of the
# most similar other text that has the label (-1 for none).
_INTEGERS = ("text", "label", "rank", "neighbour")
_FLOATS = ("weight", *FEATURES, "probability", "suspicion")
PAIR = np.dtype([*((name, "i8") for name in _INTEGERS), ("given", "?"), *((name, "f8") for name in _FLOATS)])

# Labels of a ranking that are read, and of these the first that become pairs.
_DEPTH = 100
_FIRST = 50
# Labels that stand for all that no text has to do with, and those of them that become pairs of a text.
_RANDOM_LABELS = 2_000
_RANDOM_PAIRS = 30
_NEIGHBOURS = 10
# Texts of at least this similarity are one text, whose gold says nothing about itself.
_SAME = 0.9999
# Texts that are compared with all others at a time.
_BLOCK = 256
_NO_TEXTS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class TextRanking:
    """A program's ranking of a text.

    Attributes:
        labels: Numbers of the labels, best first, shape (labels,).
        features: Their score, name recall, word cosine and log-odds (0 if not calibrated), shape (labels, 4).
        matches: The best matching words of the text and of the label, by number of a label.
    """

    labels: Ints
    features: Floats
    matches: Mapping[int, tuple[str, str]]


@dataclass(frozen=True)
class TextRankings:
    """A program's rankings of all texts, which do not depend on the gold.

    Attributes:
        texts: The ranking of each text.
        vectors: Unit vectors of the texts, shape (texts, dimensions).
        random_labels: Numbers of labels that were chosen at random.
        names: The vector of the name of each label that can become a pair, by number.
    """

    texts: Sequence[TextRanking]
    vectors: Vectors
    random_labels: Ints
    names: Mapping[int, Vectors]


def rank_texts(
    program: InferRetrieveRank,
    texts: Sequence[str],
    gold: Sequence[int],
    on_text: Callable[[], None] = lambda: None,
) -> TextRankings:
    """Ranks the labels of all texts; a text that is an example of the program is not evidence for itself.

    `gold` are the numbers of all labels that are gold of any text.
    """
    program = program.leaving_examples_out()
    ranked = []
    for prediction in program.batch(texts, min(_DEPTH, len(program.space)), trace=True):
        ranked.append(_text_ranking(program, prediction))
        on_text()
    random_labels = np.random.default_rng(0).permutation(len(program.space))[:_RANDOM_LABELS]
    numbers = sorted({*gold, *random_labels.tolist(), *(n for one in ranked for n in one.labels.tolist())})
    names = program.encoder.encode([program.space[number].name for number in numbers])
    vectors = SpanInferer(program.settings.infer).encode(list(map(clean, texts)), program.encoder)
    return TextRankings(ranked, vectors, random_labels, dict(zip(numbers, names, strict=True)))


def _text_ranking(program: InferRetrieveRank, prediction: Prediction) -> TextRanking:
    trace = prediction.trace
    if trace is None:
        return TextRanking(_NO_TEXTS, np.zeros((0, 4)), {})
    candidate_of = {candidate.label.id: candidate for candidate in trace.candidates}
    numbers, features, matches = [], [], {}
    for label in trace.ranking[:_DEPTH]:
        candidate, number = candidate_of[label.id], program.space.number_of[label.id]
        p = 0.5 if label.probability is None else min(max(label.probability, 1e-6), 1 - 1e-6)
        numbers.append(number)
        features.append((label.score, candidate.name_recall, candidate.word_cosine, np.log(p / (1 - p))))
        spans = [match for match in candidate.matches if match.kind is not QueryKind.TEXT]
        if spans:
            best = max(spans, key=lambda match: match.score)
            matches[number] = (best.query, best.entry)
    return TextRanking(np.array(numbers, np.int64), np.array(features).reshape(-1, 4), matches)


def pairs_of(ranked: TextRankings, gold: Sequence[Set[int]], labels: int) -> Pairs:
    """The pairs of all texts, in text order: an array of dtype `PAIR`; probability and suspicion are 0.

    Takes the rankings of the texts, the numbers of the gold labels of each, and the size of the label space.
    """
    texts_of: defaultdict[int, list[int]] = defaultdict(list)
    for text, own in enumerate(gold):
        for label in own:
            texts_of[label].append(text)
    having = {label: np.array(texts) for label, texts in texts_of.items()}
    rng = np.random.default_rng(0)
    parts = []
    for text, similar in enumerate(_similarities(ranked.vectors)):
        if len(ranked.texts[text].labels):
            near = np.argsort(-similar, kind="stable")[:_NEIGHBOURS]
            near = near[similar[near] > 0]
            votes: defaultdict[int, float] = defaultdict(float)
            for other in near.tolist():
                for label in gold[other]:
                    votes[label] += float(similar[other])
            pairs = _pairs_of_text(ranked, text, gold[text], sorted(votes), labels, rng)
            _add_neighbours(pairs, having, similar)
            share = np.array([votes.get(label, 0.0) for label in pairs["label"].tolist()])
            pairs["neighbour_share"] = share / max(float(similar[near].sum()), 1e-12)
            parts.append(pairs)
    return np.concatenate(parts)


def pairs_by_text(pairs: Pairs, texts: int) -> list[Pairs]:
    """The pairs of each text: views, without copies."""
    return np.split(pairs, np.searchsorted(pairs["text"], np.arange(1, texts)))


def _similarities(vectors: Vectors) -> Iterator[Floats]:
    """The similarity of each text to every other, 0 to itself and to the same text, shape (texts,)."""
    for start in range(0, len(vectors), _BLOCK):
        block = (vectors[start : start + _BLOCK] @ vectors.T).astype(np.float64)
        for row, similar in enumerate(block, start):
            similar[similar > _SAME] = 0
            similar[row] = 0
            yield similar


def _pairs_of_text(
    ranked: TextRankings,
    text: int,
    gold: Set[int],
    gold_nearby: Sequence[int],
    labels: int,
    rng: np.random.Generator,
) -> Pairs:
    """The pairs of one text: its first labels, its gold, that of similar texts, and random labels."""
    ranking = ranked.texts[text]
    chosen = dict.fromkeys([*ranking.labels[:_FIRST].tolist(), *sorted(gold), *gold_nearby])
    drawn = dict.fromkeys(rng.choice(ranked.random_labels, _RANDOM_PAIRS).tolist())
    numbers = list(chosen | drawn)
    pairs = np.zeros(len(numbers), PAIR)
    pairs["text"] = text
    pairs["label"] = numbers
    pairs["given"] = [label in gold for label in numbers]
    pairs["weight"] = 1
    if added := len(numbers) - len(chosen):
        pairs["weight"][len(chosen) :] = max(labels - len(chosen), 1) / added
    place_of = {label: place for place, label in enumerate(ranking.labels.tolist())}
    places = np.array([place_of.get(label, -1) for label in numbers])
    # A label outside the ranking is no better than its last one, and shares no words with the text.
    outside = np.array([ranking.features[-1, 0], 0.0, 0.0, ranking.features[:, 3].min()])
    features = np.where(places[:, None] >= 0, ranking.features[places], outside)
    pairs["score"], pairs["name_recall"], pairs["word_cosine"], pairs["log_odds"] = features.T
    pairs["score_below_first"] = ranking.features[0, 0] - pairs["score"]
    pairs["rank"] = places + 1
    pairs["log_rank"] = np.log1p(np.where(places >= 0, places, (len(place_of) + labels) / 2))
    pairs["name_similarity"] = np.array([ranked.names[label] for label in numbers]) @ ranked.vectors[text]
    return pairs


def _add_neighbours(pairs: Pairs, having: Mapping[int, Ints], similar: Floats) -> None:
    """Fills in the nearest other text that has the label of each pair, and its similarity."""
    pairs["neighbour"] = -1
    for row, (text, label) in enumerate(zip(pairs["text"].tolist(), pairs["label"].tolist(), strict=True)):
        texts = having.get(label, _NO_TEXTS)
        texts = texts[texts != text]
        if len(texts):
            nearest = texts[similar[texts].argmax()]
            pairs["neighbour"][row] = nearest
            pairs["neighbour_similarity"][row] = max(0.0, similar[nearest])
