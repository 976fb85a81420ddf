"""Writes the report of an evaluation: an HTML page with the figures and texts as JSON, and its script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from typing import Any, TextIO

import numpy as np

from irr.evaluate import diagnosis as figures
from irr.evaluate.diagnosis import TOP, Diagnosis, GoldLabel, PredictedLabel, ScoreGroup, TextRecord
from irr.evaluate.evaluate import Comparison, Evaluation, PerText
from irr.evaluate.sets import SetScores
from irr.labels.space import LabelSpace
from irr.pages.document import script, write_document
from irr.statistics import Estimate, interval, resampled
from irr.text.strings import cut
from irr.types import QueryKind

_SCRIPTS = ("dom.js", "charts.js", "sections.js", "decisions.js", "texts.js", "page.js")
# The page shows the beginning of a longer text.
_SHOWN_CHARACTERS = 8_000
_SHOWN_QUERY = 80
_SHOWN_PAIRS = 500
_RESAMPLES = 1_000


def write_page(out: TextIO, evaluation: Evaluation) -> None:
    """Writes the page of an evaluation with a diagnosis as one HTML file without external parts.

    Raises:
        ValueError: If there is no diagnosis.
    """
    if evaluation.diagnosis is None:
        raise ValueError("the evaluation has no diagnosis: evaluate with diagnose=True")
    data = _data(evaluation, evaluation.diagnosis)
    write_document(out, f"{evaluation.title} – irr evaluation", data, [script(name) for name in _SCRIPTS])


def _data(evaluation: Evaluation, diagnosis: Diagnosis) -> dict[str, Any]:
    program, texts = diagnosis.program, diagnosis.texts
    names = _Names(program.space)
    pairs = figures.confusions(texts, program.space, program.encoder)
    scores = dict(zip(evaluation.per_text.ids, evaluation.per_text.scores["rp@10"], strict=True))
    known = evaluation.sets.unsure if evaluation.sets else ()
    unsure = dict(zip(evaluation.per_text.ids, known, strict=False))
    return {
        "title": evaluation.title,
        "setup": evaluation.setup,
        "facts": {
            "texts": evaluation.texts,
            "without_gold": evaluation.texts_without_gold,
            "errors": evaluation.errors,
            "fallbacks": evaluation.fallbacks,
            "labels": len(program.space),
            "pool": diagnosis.pool,
            "seconds": round(evaluation.seconds, 1),
            "program": evaluation.program,
            "reranked": any(g.rank != g.retrieved for text in texts for g in text.gold),
            "asked": sum(text.queries for text in texts),
        },
        "costs": evaluation.costs.model_dump(),
        "metrics": [{"name": name, **_rounded(e)} for name, e in evaluation.metrics.items()],
        "curve": [_rounded(e) for e in curve(evaluation)],
        "funnel": [{**part._asdict(), "gain": round(part.gain, 5)} for part in figures.funnel(texts)],
        "moved": _moved(texts),
        "sets": _sets(evaluation.sets) if evaluation.sets else None,
        "groups": {
            "frequency": _groups(figures.by_frequency(texts)),
            "length": _groups(figures.by_length(texts)),
            "depth": _groups(figures.by_depth(texts, program.space)),
        },
        "pairs_in_all": len(pairs),
        "pairs": [
            {
                **asdict(pair),
                "gold": names[pair.gold],
                "wrong": names[pair.wrong],
                "similarity": round(pair.similarity, 3),
            }
            for pair in pairs[:_SHOWN_PAIRS]
        ],
        "texts": [_text(text, names, scores.get(text.id), unsure.get(text.id)) for text in texts],
        "comparisons": [_comparison(evaluation.per_text, one) for one in evaluation.comparisons],
        "labels": names.used(),  # last: the entries above number them
    }


def curve(evaluation: Evaluation) -> list[Estimate]:
    """Mean RP@k for k = 1 to 50, with intervals from the same resamples for all k."""
    curves = evaluation.curves
    blocks = [curves[drawn].mean(axis=1) for drawn in resampled(len(curves), 0, _RESAMPLES)]
    ends = map(interval, np.concatenate(blocks).T)
    return [
        Estimate(mean=float(mean), low=low, high=high)
        for mean, (low, high) in zip(curves.mean(axis=0), ends, strict=True)
    ]


def _sets(sets: SetScores) -> dict[str, Any]:
    """The scores of the returned sets, with bins, sizes and the promise."""
    returned, gold = Counter(sets.sizes), Counter(sets.gold_sizes)
    sizes = [(size, returned[size], gold[size]) for size in sorted(returned | gold)]
    fields: dict[str, Any] = {"bins": sets.bins, "sizes": sizes, "promise": None}
    if sets.promise:
        name, promised, kept = sets.promise
        fields["promise"] = {"name": name, "promised": promised, "kept": (kept.mean, kept.low, kept.high)}
    return sets.as_json() | fields


class _Names:
    """Numbers the labels of the page, so that it holds each name once."""

    def __init__(self, space: LabelSpace) -> None:
        self._space = space
        self._numbers: dict[str, int] = {}

    def __getitem__(self, label: str) -> int:
        return self._numbers.setdefault(label, len(self._numbers))

    def name(self, label: str) -> str:
        return self._space[self._space.number_of[label]].name

    def used(self) -> list[dict[str, str]]:
        return [{"id": label, "name": self.name(label)} for label in self._numbers]


def _text(text: TextRecord, names: _Names, score: float | None, unsure: float | None) -> dict[str, Any]:
    predicted = {p.label for p in text.predicted}
    fields: dict[str, Any] = {
        "id": text.id,
        "text": text.text[:_SHOWN_CHARACTERS],
        "queries": text.queries,
        "gold": [_gold(gold, text, names, predicted) for gold in text.gold],
        "top": [
            {"label": names[p.label], "score": round(p.score, 3), "matches": _matches(p, text, names)}
            for p in text.predicted
        ],
    }
    for key, value in (("rp", score), ("unsure", unsure)):
        if value is not None:
            fields[key] = round(value, 4)
    rest = max(0, len(text.text) - _SHOWN_CHARACTERS)
    optional = {"cut": rest, "error": text.error, "fallbacks": text.fallbacks}
    return fields | {key: value for key, value in optional.items() if value}


def _gold(gold: GoldLabel, text: TextRecord, names: _Names, predicted: Collection[str]) -> dict[str, Any]:
    nearest = None
    if gold.nearest:
        query, rank = gold.nearest
        nearest = {"query": _query(query.kind, query.text, text), "rank": rank}
    return {
        "label": names[gold.label],
        "outcome": gold.outcome,
        "rank": gold.rank,
        # A predicted label has its matches there.
        "matches": [] if gold.label in predicted else _matches(gold, text, names),
        "nearest": nearest,
    }


def _matches(of: GoldLabel | PredictedLabel, text: TextRecord, names: _Names) -> list[dict[str, Any]]:
    return [
        {
            "kind": match.kind,
            "query": _query(match.kind, match.query, text),
            "entry": None if match.entry == names.name(of.label) else cut(match.entry, _SHOWN_QUERY),
            "score": round(match.score, 2),
        }
        for match in of.matches
    ]


def _query(kind: QueryKind, query: str, text: TextRecord) -> str | None:
    """A query as the page shows it; None for the whole text."""
    if kind is QueryKind.TEXT and len(query) >= len(text.text.strip()):
        return None
    return cut(query, _SHOWN_QUERY) if kind is QueryKind.TEXT else query


def _moved(texts: Sequence[TextRecord]) -> dict[str, int]:
    """The numbers of gold labels that rank moved into and out of the first ten."""
    placed = [(g.retrieved, g.rank) for text in texts for g in text.gold if g.rank and g.retrieved]
    return {
        "up": sum(before > TOP >= after for before, after in placed),
        "down": sum(before <= TOP < after for before, after in placed),
    }


def _comparison(ours: PerText, comparison: Comparison) -> dict[str, Any]:
    theirs = comparison.baseline.per_text
    return {
        "name": comparison.baseline.name,
        "program": comparison.baseline.program,
        "curve": [round(value, 5) for value in comparison.baseline.curve],
        "metrics": [
            {"name": name, "baseline": round(comparison.means[name], 5), **_rounded(difference)}
            for name, difference in comparison.differences.items()
        ],
        # By text id: texts without gold have no difference.
        "differences": {
            text: round(mine - other, 4)
            for text, mine, other in zip(ours.ids, ours.scores["rp@10"], theirs.scores["rp@10"], strict=True)
        },
    }


def _groups(groups: Iterable[ScoreGroup]) -> list[dict[str, Any]]:
    return [{"name": group.name, "size": group.size, **_rounded(group.score)} for group in groups]


def _rounded(e: Estimate) -> dict[str, float]:
    return {name: round(value, 5) for name, value in e.model_dump().items()}
