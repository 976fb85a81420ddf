"""Retrieve: scores against the formula computed plainly, of all labels and of those proposed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.index.lexical import LexicalIndex, Postings
from irr.index.store import open_index
from irr.labels.space import LabelSpace
from irr.retrieve.features import Combination
from irr.retrieve.retriever import LabelRetriever
from irr.types import EntryKind, Label, Query, QueryKind
from tests.doubles.hash_encoder import HashEncoder

SETTINGS = Settings()


def query(text: str, kind: QueryKind = QueryKind.SPAN, passage: int = 0) -> Query:
    return Query(text=text, kind=kind, passage=passage)


QUERIES = [
    [query("We need someone for the ovens and the sink", QueryKind.TEXT), query("ovens"), query("sink")],
    [],
    [query("baking loaves"), query("purchasing", QueryKind.TERM), query("menus", QueryKind.TERM)],
    [
        query("Our kitchen makes bread", QueryKind.TEXT),
        query("bread"),
        query("Plan the menus and cook", QueryKind.TEXT, 1),
        query("menus", passage=1),
        query("cook", passage=1),
        query("Order supplies", QueryKind.TEXT, 2),
        query("staff", QueryKind.TERM),
    ],
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


def plain_scores(
    space: LabelSpace, queries: list[Query], encoder: SentenceEncoder, settings: Settings
) -> dict[str, float]:
    """The formula of `LabelRetriever`, a query and an entry at a time, before spans are shared."""
    names = encoder.encode([label.name for label in space])
    wholes = [" ".join([label.name, *label.aliases, label.description or ""]) for label in space]
    words = LexicalIndex(Postings.of_texts(label.name for label in space), Postings.of_texts(wholes))
    passages = sorted({q.passage for q in queries if q.kind is not QueryKind.TERM})

    def best(label: Label, kind: QueryKind, asked: list[Query]) -> float:
        entries = [(EntryKind.NAME, label.name)]
        entries += [(EntryKind.ALIAS, alias) for alias in label.aliases]
        entries += [(EntryKind.DESCRIPTION, label.description)] if label.description else []
        matches = []
        for q in asked:
            vector = encoder.encode([q.text])[0]
            generality = np.sort(names @ vector)[-20:].mean() if kind is QueryKind.SPAN else 0.0
            matches += [
                vector @ encoder.encode([text])[0]
                - settings.retrieve.margin(entry, kind)
                - settings.retrieve.hubness_penalty * generality
                for entry, text in entries
            ]
        return settings.retrieve.kind_weight(kind) * max(matches, default=0.0)

    def score(number: int, label: Label) -> float:
        total = 0.0
        for passage in passages:
            of_passage = 0.0
            for kind in (QueryKind.TEXT, QueryKind.SPAN):
                asked = [q for q in queries if q.kind is kind and q.passage == passage]
                of_passage += best(label, kind, asked)
            text = " ".join(q.text for q in queries if q.kind is QueryKind.TEXT and q.passage == passage)
            coverage, likeness = (of_all[number] for of_all in words(text))
            shared = (
                settings.retrieve.name_recall_weight * coverage
                + settings.retrieve.word_cosine_weight * likeness
            )
            total += math.exp(20 * (of_passage + (1 + math.log(len(passages)) / 2) * shared))
        joined = math.log(total) / 20 if passages else 0.0
        joined += best(label, QueryKind.TERM, [q for q in queries if q.kind is QueryKind.TERM])
        return joined * math.log(settings.retrieve.prior_weight * (label.prior or 0) + math.e)

    scores = {label.id: score(number, label) for number, label in enumerate(space)}
    return {
        label.id: scores[label.id]
        + settings.retrieve.parent_share
        * max([0.0, *(scores[o.id] - scores[label.id] for o in space if label.id in o.parents)])
        for label in space
    }


@pytest.mark.parametrize("exact_entries", [10_000, 0], ids=["all", "proposed"])
def test_scores_are_the_formula(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path, exact_entries: int
) -> None:
    index = open_index(kitchen, encoder, SETTINGS.retrieve.fields, tmp_path)
    settings = SETTINGS.replace({"retrieve.redundancy_penalty": 0.0, "retrieve.exact_entries": exact_entries})
    retriever = LabelRetriever(index, encoder, settings.retrieve)
    results = retriever.retrieve(QUERIES, top_k=5)
    assert [len(candidates) for candidates in results] == [5, 0, 5, 5]
    for queries, candidates in zip(QUERIES, results, strict=True):
        if not queries:
            continue
        expected = plain_scores(kitchen, queries, encoder, settings)
        best = sorted(expected, key=lambda label: -expected[label])[: len(candidates)]
        assert [c.label.id for c in candidates] == best
        for candidate in candidates:
            assert candidate.score == pytest.approx(expected[candidate.label.id], abs=1e-4)


@pytest.mark.parametrize("feature", ["parent", "shared_words", "passage_match", "exclusive_matches"])
def test_features_without_a_weight_are_left_out_and_change_no_score(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path, feature: str
) -> None:
    index = open_index(kitchen, encoder, SETTINGS.retrieve.fields, tmp_path)
    weights = {"score": 1.0, feature: -0.3}
    combination = Combination(short=weights, long=weights)
    retriever = LabelRetriever(index, encoder, SETTINGS.retrieve, combination=combination)
    for candidates, features in zip(
        retriever.retrieve(QUERIES, 5), retriever.features(QUERIES, 5), strict=True
    ):
        if features is None:
            continue
        scores = np.sort(combination.scores(features))[::-1][: len(candidates)]
        assert [one.score for one in candidates] == pytest.approx(scores.tolist(), abs=1e-5)


def test_labels_are_proposed_and_their_scores_stay_exact(
    large: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    index = open_index(large, encoder, SETTINGS.retrieve.fields, tmp_path)
    scan = LabelRetriever(index, encoder, SETTINGS.retrieve).retrieve(QUERIES, top_k=50)
    proposing = SETTINGS.replace({"retrieve.exact_entries": 0})
    proposed = LabelRetriever(index, encoder, proposing.retrieve).retrieve(QUERIES, top_k=50)
    for by_scan, by_proposal in zip(scan, proposed, strict=True):
        scores = {c.label.id: c.score for c in by_scan}
        shared = [c for c in by_proposal if c.label.id in scores]
        assert len(shared) >= 0.9 * len(by_scan)
        for candidate in shared:
            assert candidate.score == pytest.approx(scores[candidate.label.id], abs=1e-5)
        assert by_proposal[:5] == [
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
    index = open_index(space, encoder, SETTINGS.retrieve.fields, tmp_path)
    (candidates,) = LabelRetriever(index, encoder, SETTINGS.retrieve).retrieve([[query("bread")]], top_k=3)
    assert [c.label.id for c in candidates] == ["first", "second", "alias"]


def test_matches_say_which_query_met_which_entry(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    index = open_index(kitchen, encoder, SETTINGS.retrieve.fields, tmp_path)
    retriever = LabelRetriever(
        index, encoder, SETTINGS.replace({"retrieve.redundancy_penalty": 0.0}).retrieve
    )
    (candidates,) = retriever.retrieve([QUERIES[2]], top_k=8, explain=True)
    found = {c.label.id: {m.kind: m for m in c.matches} for c in candidates}
    assert found["bake"][QueryKind.SPAN].query == "baking loaves"
    assert found["bake"][QueryKind.SPAN].entry == "make loaves"
    assert found["buy"][QueryKind.TERM].query == "purchasing"
    assert found["plan"][QueryKind.TERM].query == "menus"
    for candidate in candidates:
        prior = candidate.label.prior or 0
        fused = sum(SETTINGS.retrieve.kind_weight(m.kind) * m.score for m in candidate.matches)
        # Its child "plan" lifts it.
        if candidate.label.id == "cook":
            continue
        assert candidate.score == pytest.approx(fused * np.log(prior + np.e), abs=1e-4)


def test_a_span_means_one_label(encoder: SentenceEncoder, tmp_path: Path) -> None:
    space = LabelSpace(["bread", "breads", "bread and bread", "wash dishes"])
    index = open_index(space, encoder, (), tmp_path)
    queries = [[query("bread"), query("clean the dishes")]]
    settings = SETTINGS.replace({"retrieve.redundancy_penalty": 0.0})
    (alone,) = LabelRetriever(index, encoder, settings.retrieve).retrieve(queries, top_k=4)
    (shared,) = LabelRetriever(
        index, encoder, SETTINGS.replace({"retrieve.redundancy_penalty": 0.5}).retrieve
    ).retrieve(queries, top_k=4)
    before, after = ({c.label.id: c.score for c in found} for found in (alone, shared))
    assert before["bread"] > before["breads"] > before["bread and bread"]
    assert after["bread"] == before["bread"]
    assert after["wash dishes"] == before["wash dishes"]
    assert before["breads"] - after["breads"] == pytest.approx(0.5 * math.log(2), abs=1e-5)
    assert before["bread and bread"] - after["bread and bread"] == pytest.approx(0.5 * math.log(3), abs=1e-5)


def test_the_passage_that_speaks_for_a_label_is_named(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    index = open_index(kitchen, encoder, (), tmp_path)
    passages = ["We bake bread all night.", "Nothing to see here.", "You wash dirty dishes."]
    queries = []
    for number, passage in enumerate(passages):
        place = {"passage": number, "start": 100 * number, "end": 100 * number + len(passage)}
        queries.append(Query(text=passage, kind=QueryKind.TEXT, **place))
    (candidates,) = LabelRetriever(index, encoder, SETTINGS.retrieve).retrieve(
        [queries], top_k=8, explain=True
    )
    found = {c.label.id: c for c in candidates}
    assert found["bake"].place == (0, len(passages[0]))
    assert found["wash"].place == (200, 200 + len(passages[2]))
    (match,) = found["wash"].matches
    assert (match.query, match.start) == (passages[2], 200)


def test_more_candidates_than_labels_gives_all_labels(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    index = open_index(kitchen, encoder, (), tmp_path)
    (candidates,) = LabelRetriever(index, encoder, SETTINGS.retrieve).retrieve([[query("x")]], top_k=100)
    assert {c.label.id for c in candidates} == {label.id for label in kitchen}


def test_a_label_that_only_shares_words_is_proposed(tmp_path: Path) -> None:
    """Hashed vectors say nothing of meaning, so that only its words speak for the label."""
    names = [f"{word} {number}" for number in range(60) for word in ("bread", "dishes", "menus")]
    space = LabelSpace([*names, "wash pots and pans"])
    index = open_index(space, HashEncoder(), SETTINGS.retrieve.fields, tmp_path)
    settings = SETTINGS.replace({"retrieve.exact_entries": 0, "retrieve.neighbors": 1})
    query = Query(kind=QueryKind.TEXT, text="pans and pots are to wash here")
    (candidates,) = LabelRetriever(index, HashEncoder(), settings.retrieve).retrieve([[query]], top_k=50)
    assert "wash pots and pans" in [candidate.label.name for candidate in candidates]
