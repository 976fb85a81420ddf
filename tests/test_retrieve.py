"""Retrieve: scores against the formula computed plainly, by scan and by graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from irr.encoder import SentenceEncoder
from irr.index import open_index
from irr.labels import LabelSpace
from irr.lexical import NameCoverage
from irr.retrieve import LabelRetriever
from irr.settings import Settings
from irr.types import EntryKind, Label, Query, QueryKind

SETTINGS = Settings(fields=tuple(EntryKind), prior_weight=1.0)


def query(text: str, kind: QueryKind = QueryKind.SPAN) -> Query:
    return Query(text=text, kind=kind)


QUERIES = [
    [query("We need someone for the ovens and the sink", QueryKind.TEXT), query("ovens"), query("sink")],
    [],
    [query("baking loaves"), query("purchasing", QueryKind.TERM), query("menus", QueryKind.TERM)],
]


@pytest.fixture(scope="module")
def large() -> LabelSpace:
    """400 labels of two or three words, half of them with an alias."""
    verbs = "bake wash order plan supervise repair sell teach weld paint".split()
    things = "bread dishes supplies menus staff bicycles shoes languages pipes walls".split()
    places = ["", " at sea", " abroad", " online"]
    return LabelSpace(
        {
            "id": f"{v}-{t}-{p}",
            "name": f"{v} {t}{p}",
            "aliases": [f"{t} {v}er{p}"] if len(t) % 2 else [],
            "prior": len(v) / 10,
        }
        for v in verbs
        for t in things
        for p in places
    )


def plain_score(
    space: LabelSpace, label: Label, queries: list[Query], encoder: SentenceEncoder, settings: Settings
) -> float:
    """The formula of `LabelRetriever`, a query and an entry at a time."""
    entries = [(EntryKind.NAME, label.name)]
    entries += [(EntryKind.ALIAS, alias) for alias in label.aliases]
    entries += [(EntryKind.DESCRIPTION, label.description)] if label.description else []
    names = encoder.encode([other.name for other in space])
    total = 0.0
    for kind in QueryKind:
        matches = []
        for query in queries:
            if query.kind is kind:
                vector = encoder.encode([query.text])[0]
                generality = np.sort(names @ vector)[-20:].mean() if kind is QueryKind.SPAN else 0.0
                matches += [
                    vector @ encoder.encode([text])[0]
                    - settings.margin(entry)
                    - settings.span_generality * generality
                    for entry, text in entries
                ]
        total += settings.kind_weight(kind) * max(matches, default=0.0)
    passages = [q.text for q in queries if q.kind is QueryKind.TEXT]
    coverage = NameCoverage(other.name for other in space)(passages)[space.number_of[label.id]]
    total += settings.lexical_weight * coverage
    return float(total * np.log(settings.prior_weight * (label.prior or 0) + np.e))


@pytest.mark.parametrize("exact_entries", [10_000, 0], ids=["scan", "graph"])
def test_scores_are_the_formula(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path, exact_entries: int
) -> None:
    index = open_index(kitchen, encoder, SETTINGS.fields, tmp_path)
    retriever = LabelRetriever(index, encoder, SETTINGS, exact_entries)
    results = retriever.retrieve(QUERIES, top_k=5)
    assert [len(candidates) for candidates in results] == [5, 0, 5]
    for queries, candidates in zip(QUERIES, results, strict=True):
        expected = {label.id: plain_score(kitchen, label, queries, encoder, SETTINGS) for label in kitchen}
        best = sorted(expected, key=lambda label: -expected[label])[: len(candidates)]
        assert [c.label.id for c in candidates] == best
        for candidate in candidates:
            assert candidate.score == pytest.approx(expected[candidate.label.id], abs=1e-4)


def test_the_graph_proposes_and_the_scores_stay_exact(
    large: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    index = open_index(large, encoder, SETTINGS.fields, tmp_path)
    scan = LabelRetriever(index, encoder, SETTINGS).retrieve(QUERIES, top_k=50)
    graph = LabelRetriever(index, encoder, SETTINGS, exact_entries=0).retrieve(QUERIES, top_k=50)
    for by_scan, by_graph in zip(scan, graph, strict=True):
        scores = {c.label.id: c.score for c in by_scan}
        shared = [c for c in by_graph if c.label.id in scores]
        assert len(shared) >= 0.9 * len(by_scan)
        for candidate in shared:
            assert candidate.score == pytest.approx(scores[candidate.label.id], abs=1e-5)
        assert by_graph[:5] == [
            c.model_copy(update={"score": pytest.approx(c.score, abs=1e-5)}) for c in by_scan[:5]
        ]


def test_a_name_wins_over_an_equal_alias_and_ties_keep_label_order(
    encoder: SentenceEncoder, tmp_path: Path
) -> None:
    space = LabelSpace(
        [
            {"id": "alias", "name": "something else", "aliases": ["bread"]},
            {"id": "first", "name": "bread"},
            {"id": "second", "name": "bread"},
        ]
    )
    index = open_index(space, encoder, SETTINGS.fields, tmp_path)
    (candidates,) = LabelRetriever(index, encoder, SETTINGS).retrieve([[query("bread")]], top_k=3)
    assert [c.label.id for c in candidates] == ["first", "second", "alias"]


def test_matches_say_which_query_met_which_entry(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    index = open_index(kitchen, encoder, SETTINGS.fields, tmp_path)
    retriever = LabelRetriever(index, encoder, SETTINGS)
    (candidates,) = retriever.retrieve([QUERIES[2]], top_k=8, explain=True)
    found = {c.label.id: {m.kind: m for m in c.matches} for c in candidates}
    assert found["bake"][QueryKind.SPAN].query == "baking loaves"
    assert found["bake"][QueryKind.SPAN].entry == "make loaves"
    assert found["buy"][QueryKind.TERM].query == "purchasing"
    assert found["plan"][QueryKind.TERM].query == "menus"
    for candidate in candidates:
        prior = candidate.label.prior or 0
        fused = sum(SETTINGS.kind_weight(m.kind) * m.score for m in candidate.matches)
        fused += SETTINGS.lexical_weight * candidate.coverage
        assert candidate.score == pytest.approx(fused * np.log(prior + np.e), abs=1e-4)


def test_more_candidates_than_labels_gives_all_labels(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    index = open_index(kitchen, encoder, (), tmp_path)
    (candidates,) = LabelRetriever(index, encoder, SETTINGS).retrieve([[query("x")]], top_k=100)
    assert {c.label.id for c in candidates} == {label.id for label in kitchen}
