"""Gaps of a label space: what its program makes of texts, as new labels, splits and merges to decide on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irr.calibrate.scope import UNUSUAL
from irr.encoders.base import unit_mean
from irr.labels.changes import Change, Merge, New, Split
from irr.program.program import InferRetrieveRank
from irr.types import Prediction
from irr.workbench.draft.clusters import cluster, tight
from irr.workbench.draft.corpus import Corpus, Floats, encode
from irr.workbench.draft.draft import new_ids, new_label
from irr.workbench.draft.naming import name_clusters

Ints = NDArray[np.int64]


# The texts that are surest: what a good answer scores.
_SUREST = 0.9
# Fewer examples say nothing of where labels are known.
_FEWEST_EXAMPLES = 30
# Texts and examples around a text among which examples are counted, at most a tenth of all.
_AROUND = 20
_BLOCK = 256


@dataclass(frozen=True)
class GapOptions:
    """When something is a gap.

    Attributes:
        texts: Texts that a proposal rests on, at least.
        unsure: The score, as a share of what the surest tenth of the texts have, below which a text is
            unsure, where the program is not calibrated.
        probability: Texts whose best label is less probable are unsure, where it is.
        known: The share of examples among the nearest texts, as a share of the mean over all texts, at most,
            for a proposal, where the labels that its texts get have examples.
        coherent: Mean similarity of a proposal's texts to one another, at least.
        apart: Similarity of the centers of a split's parts, at most.
        close: Share of two labels' texts for which the other one is a close second, at least, to merge them.
        margin: How close, in points of the score.
    """

    texts: int = 3
    unsure: float = 0.7
    probability: float = 0.5
    known: float = 0.5
    coherent: float = 0.5
    apart: float = 0.35
    close: float = 0.6
    margin: float = 0.02


@dataclass(frozen=True)
class Seen:
    """What the program makes of each text.

    Attributes:
        corpus: The texts.
        best: The number of the best label, shape (texts,).
        second: Of the second.
        margin: By how much the best is better, shape (texts,).
        sure: How sure the program is: the best label's probability, or its score; shape (texts,).
        unsure: Whether that is too little for an answer.
        known: The share of the program's examples among the texts and examples that are nearest to each text,
            shape (texts,); NaN where they say nothing: the best label has none, or the program has too few.
    """

    corpus: Corpus
    best: Ints
    second: Ints
    margin: NDArray[np.float64]
    sure: NDArray[np.float64]
    unsure: NDArray[np.bool_]
    known: NDArray[np.float64]


def look(
    program: InferRetrieveRank,
    corpus: Corpus,
    options: GapOptions,
    on_text: Callable[[], None] = lambda: None,
) -> Seen:
    """Asks the program about every text of a corpus."""
    best, second, margin, sure, outside = [], [], [], [], []
    number_of = program.space.number_of
    for found in program.batch(corpus.texts, 2):
        ids = [number_of[label.id] for label in found.labels]
        first, other = (*ids, *ids[-1:], -1, -1)[:2]
        scores = [label.score for label in found.labels]
        best.append(first)
        second.append(other)
        margin.append(scores[0] - scores[1] if len(scores) > 1 else np.inf)
        sure.append(_sureness(found))
        outside.append(found.scope is not None and found.scope <= UNUSUAL)
        on_text()
    values = np.array(sure)
    limit = options.probability if program.calibration else options.unsure * np.quantile(values, _SUREST)
    return Seen(
        corpus,
        np.array(best),
        np.array(second),
        np.array(margin),
        values,
        (values <= limit) | np.array(outside),
        _known(program, corpus, np.array(best)),
    )


def find_gaps(program: InferRetrieveRank, seen: Seen, options: GapOptions) -> list[Change]:
    """New labels, splits and merges, each with its evidence; those with the most evidence first."""
    taken = [label.id for label in program.space]
    proposed = _missing(seen, options)
    broken = _apart(seen, options)
    groups = [*proposed, *(rows for _, parts in broken for rows in parts)]
    texts = [[seen.corpus.texts[row] for row in rows] for rows in groups]
    names = name_clusters(
        texts,
        [seen.corpus.vectors[rows] for rows in groups],
        program.encoder,
        [label.name for label in program.space],
    )
    total = seen.corpus.counts.sum()
    shares = [float(seen.corpus.counts[rows].sum() / total) for rows in groups]
    made = [
        new_label(label, named, own, share)
        for label, named, own, share in zip(new_ids(taken, len(groups)), names, texts, shares, strict=True)
    ]
    changes: list[Change] = [
        New(label=label, evidence=_evidence(program, seen, rows))
        for label, rows in zip(made, proposed, strict=False)
    ]
    at = len(proposed)
    for label, parts in broken:
        into = made[at : at + len(parts)]
        at += len(parts)
        evidence = {"texts": int(sum(map(len, parts))), "parts": [len(rows) for rows in parts]}
        changes.append(Split(id=program.space[label].id, into=tuple(into), evidence=evidence))
    return [*changes, *_alike(program, seen, options)]


def _sureness(found: Prediction) -> float:
    if not found.labels:
        return -np.inf
    first = found.labels[0]
    return first.score if first.probability is None else first.probability


def _known(program: InferRetrieveRank, corpus: Corpus, best: Ints) -> NDArray[np.float64]:
    """The share of examples among the nearest of each text: where a label is missing, no example has it."""
    examples = [example for example in program.examples if example.labels]
    if len(examples) < _FEWEST_EXAMPLES:
        return np.full(len(corpus), np.nan)
    vectors = encode([example.text for example in examples], program.encoder)
    around = np.concatenate([corpus.vectors, vectors])
    count = min(_AROUND, len(around) // 10)
    shares = []
    for start in range(0, len(corpus), _BLOCK):
        similarity = corpus.vectors[start : start + _BLOCK] @ around.T
        similarity[np.arange(len(similarity)), np.arange(start, start + len(similarity))] = -np.inf
        nearest = np.argpartition(-similarity, count, axis=1)[:, :count]
        shares.append((nearest >= len(corpus)).mean(axis=1))
    having = {program.space.number_of[label] for example in examples for label in example.labels}
    return np.where(np.isin(best, sorted(having)), np.concatenate(shares), np.nan)


def _missing(seen: Seen, options: GapOptions) -> list[Ints]:
    """Clusters of texts that are near to one another and to no label; the least sure first.

    Few examples are near where those say something of most of the texts; elsewhere most texts are unsure.
    """
    vectors = seen.corpus.vectors
    unheard = np.isnan(seen.known)
    limit = options.known * float(seen.known[~unheard].mean()) if not unheard.all() else 0.0
    found = [
        _central(vectors, rows)
        for rows in tight(vectors, options.coherent, options.texts)
        if (
            seen.unsure[rows].mean() > 0.5
            if unheard[rows].mean() >= 0.5
            else np.nanmean(seen.known[rows]) <= limit
        )
    ]
    return sorted(found, key=lambda rows: float(seen.sure[rows].mean()))


def _central(vectors: Floats, rows: Ints) -> Ints:
    """The rows, the most central first."""
    return rows[np.argsort(-(vectors[rows] @ unit_mean(vectors[rows])), kind="stable")]


def _apart(seen: Seen, options: GapOptions) -> list[tuple[int, list[Ints]]]:
    """Labels whose texts fall into two parts, and the parts."""
    found = []
    for label, count in Counter(seen.best[~seen.unsure].tolist()).items():
        if count < 4 * options.texts:
            continue
        rows = np.flatnonzero((seen.best == label) & ~seen.unsure)
        vectors = seen.corpus.vectors[rows]
        parts = cluster(vectors, 2, max(options.texts, count // 4), 0)
        if len(parts) < 2 or float(parts.centers[0] @ parts.centers[1]) > options.apart:
            continue
        found.append((int(label), [rows[parts.members(number)] for number in range(2)]))
    return sorted(found, key=lambda pair: -sum(map(len, pair[1])))


def _alike(program: InferRetrieveRank, seen: Seen, options: GapOptions) -> list[Change]:
    """Pairs of labels of which one is nearly always a close second to the other."""
    texts = Counter(seen.best.tolist())
    close: Counter[tuple[int, int]] = Counter()
    for best, second, margin in zip(seen.best.tolist(), seen.second.tolist(), seen.margin, strict=True):
        if second >= 0 and margin <= options.margin:
            close[min(best, second), max(best, second)] += 1
    changes: list[Change] = []
    used: set[int] = set()
    for (a, b), count in close.most_common():
        of = texts[a] + texts[b]
        if of < 2 * options.texts or min(texts[a], texts[b]) < options.texts or {a, b} & used:
            continue
        if count >= options.close * of:
            used |= {a, b}
            first, other = sorted((a, b), key=lambda number: -texts[number])
            evidence = {
                "texts": of,
                "close": count,
                "names": [program.space[first].name, program.space[other].name],
            }
            changes.append(Merge(ids=(program.space[first].id, program.space[other].id), evidence=evidence))
    return changes


def _evidence(program: InferRetrieveRank, seen: Seen, rows: Ints) -> dict[str, object]:
    nearest = Counter(seen.best[rows].tolist()).most_common(3)
    vectors: Floats = seen.corpus.vectors[rows]
    known = seen.known[rows][~np.isnan(seen.known[rows])]
    return {
        "texts": int(seen.corpus.counts[rows].sum()),
        **({"examples_near": round(float(known.mean()), 3)} if len(known) else {}),
        "unsure": round(float(seen.unsure[rows].mean()), 3),
        "coherence": round(float((vectors @ unit_mean(vectors)).mean()), 3),
        "nearest": [
            {"id": program.space[label].id, "name": program.space[label].name, "texts": count}
            for label, count in nearest
            if label >= 0
        ],
    }
