"""Writes the page of the report: the figures and texts as JSON, and the script that shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, TextIO

from irr.evaluate.compare import Comparison
from irr.evaluate.evaluate import Evaluation
from irr.evaluate.report import figures
from irr.evaluate.report.diagnoser import TOP, Diagnoser, Gold, TextRecord
from irr.evaluate.sets import SetScores
from irr.evaluate.setup import Setup
from irr.labels.space import LabelSpace
from irr.pages.document import script, write_document
from irr.statistics import Estimate
from irr.text.lines import cut
from irr.types import Match, QueryKind
from irr.version import __version__

_SCRIPTS = ("dom.js", "charts.js", "sections.js", "decisions.js", "texts.js", "page.js")
# Of a longer text the page shows the beginning.
_SHOWN_CHARACTERS = 8_000
_SHOWN_QUERY = 80
_SHOWN_PAIRS = 500


def write_page(
    out: TextIO,
    setup: Setup,
    evaluation: Evaluation,
    diagnoser: Diagnoser,
    comparisons: Sequence[Comparison] = (),
) -> None:
    """Writes the page as one HTML file without external parts.

    Args:
        out: Where to.
        setup: What was evaluated.
        evaluation: The scores.
        diagnoser: What was seen of each text, looked up.
        comparisons: With earlier evaluations.
    """
    data = _data(setup, evaluation, diagnoser, comparisons)
    write_document(out, f"{setup.title} – irr evaluation", data, [script(name) for name in _SCRIPTS])


def _data(
    setup: Setup, evaluation: Evaluation, diagnoser: Diagnoser, comparisons: Sequence[Comparison]
) -> dict[str, Any]:
    program, texts = diagnoser.program, diagnoser.texts
    lost = figures.funnel(texts)
    names = _Names(program.space)
    pairs = figures.confusions(texts, program.space, program.encoder)
    scores = dict(zip(evaluation.per_text.ids, evaluation.per_text.scores["rp@10"], strict=True))
    known = evaluation.sets.unsure if evaluation.sets else ()
    unsure = {
        i: {"unsure": round(value, 4)} for i, value in zip(evaluation.per_text.ids, known, strict=False)
    }
    return {
        "title": setup.title,
        "setup": setup.as_json(),
        "facts": {
            "texts": evaluation.texts,
            "without_gold": evaluation.texts_without_gold,
            "errors": evaluation.errors,
            "fallbacks": evaluation.fallbacks,
            "labels": len(program.space),
            "pool": diagnoser.pool,
            "seconds": round(evaluation.seconds, 1),
            "version": __version__,
            "encoder": program.encoder.name,
            "program": setup.program,
            "settings": program.settings.flat(),
            "reranked": any(g.rank != g.retrieved for seen in texts for g in seen.gold),
            "asked": sum(seen.queries for seen in texts),
        },
        "costs": evaluation.costs.model_dump(),
        "metrics": [{"name": name, **_rounded(e)} for name, e in evaluation.metrics.items()],
        "curve": [_rounded(e) for e in figures.curve(texts)],
        "funnel": [{**asdict(part), "gain": round(part.gain, 5)} for part in lost],
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
        "texts": [_text(seen, names, scores.get(seen.id)) | unsure.get(seen.id, {}) for seen in texts],
        "comparisons": [_comparison(evaluation, comparison) for comparison in comparisons],
        "labels": names.used,  # last: what stands above fills it
    }


def _sets(sets: SetScores) -> dict[str, Any]:
    """The scores of the returned sets, with bins, sizes and the promise."""
    returned, gold = Counter(sets.sizes), Counter(sets.gold_sizes)
    fields: dict[str, Any] = {
        "bins": [bin.model_dump() for bin in sets.bins],
        "sizes": [(size, returned[size], gold[size]) for size in sorted(returned | gold)],
        "promise": None,
    }
    if sets.promise:
        name, promised, kept = sets.promise
        fields["promise"] = {"name": name, "promised": promised, "kept": (kept.mean, kept.low, kept.high)}
    return sets.as_json() | fields


class _Names:
    """Numbers the labels of the page, so that it holds each name once."""

    def __init__(self, space: LabelSpace) -> None:
        self._space = space
        self._number: dict[str, int] = {}
        self.used: list[dict[str, str]] = []

    def __getitem__(self, label: str) -> int:
        if label not in self._number:
            self._number[label] = len(self.used)
            self.used.append({"id": label, "name": self._space[self._space.number_of[label]].name})
        return self._number[label]

    def name(self, label: str) -> str:
        return self.used[self[label]]["name"]


def _text(seen: TextRecord, names: _Names, score: float | None) -> dict[str, Any]:
    predicted = {p.label for p in seen.predicted}
    fields: dict[str, Any] = {
        "id": seen.id,
        "text": seen.text[:_SHOWN_CHARACTERS],
        "queries": seen.queries,
        "gold": [_gold(gold, seen, names, gold.label not in predicted) for gold in seen.gold],
        "top": [
            {
                "label": names[p.label],
                "score": round(p.score, 3),
                "matches": _matches(p.matches, seen, names.name(p.label)),
            }
            for p in seen.predicted
        ],
    }
    optional = {
        "rp": None if score is None else round(score, 4),
        "cut": max(0, len(seen.text) - _SHOWN_CHARACTERS),
        "error": seen.error,
        "fallbacks": seen.fallbacks,
    }
    return fields | {key: value for key, value in optional.items() if value or (value == 0.0 and key == "rp")}


def _gold(gold: Gold, seen: TextRecord, names: _Names, matches: bool) -> dict[str, Any]:
    nearest = None
    if gold.nearest:
        query, rank = gold.nearest
        nearest = {"query": _query(query.kind, query.text, seen), "rank": rank}
    return {
        "label": names[gold.label],
        "outcome": gold.outcome,
        "rank": gold.rank,
        "matches": _matches(gold.matches, seen, names.name(gold.label)) if matches else [],
        "nearest": nearest,
    }


def _matches(matches: Iterable[Match], seen: TextRecord, name: str) -> list[dict[str, Any]]:
    return [
        {
            "kind": match.kind,
            "query": _query(match.kind, match.query, seen),
            "entry": None if match.entry == name else cut(match.entry, _SHOWN_QUERY),
            "score": round(match.score, 2),
        }
        for match in matches
    ]


def _query(kind: QueryKind, query: str, seen: TextRecord) -> str | None:
    """A query as the page shows it; None for the whole text."""
    if kind is QueryKind.TEXT and len(query) >= len(seen.text.strip()):
        return None
    return cut(query, _SHOWN_QUERY) if kind is QueryKind.TEXT else query


def _moved(texts: Sequence[TextRecord]) -> dict[str, int]:
    """The numbers of gold labels that rank moved into and out of the first ten."""
    top = TOP
    placed = [(g.retrieved, g.rank) for seen in texts for g in seen.gold if g.rank and g.retrieved]
    return {
        "up": sum(before > top >= after for before, after in placed),
        "down": sum(before <= top < after for before, after in placed),
    }


def _comparison(evaluation: Evaluation, comparison: Comparison) -> dict[str, Any]:
    theirs = comparison.baseline.per_text.scores["rp@10"]
    ours = evaluation.per_text.scores["rp@10"]
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
            for text, mine, other in zip(evaluation.per_text.ids, ours, theirs, strict=True)
        },
    }


def _groups(groups: Iterable[figures.Group]) -> list[dict[str, Any]]:
    return [{"name": group.name, "size": group.size, **_rounded(group.score)} for group in groups]


def _rounded(e: Estimate) -> dict[str, float]:
    return {name: round(value, 5) for name, value in e.model_dump().items()}
