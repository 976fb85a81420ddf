"""Infer without a language model: which spans and passages a text gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irr.config import InferSettings
from irr.infer.spans import SpanInferer
from irr.text.words import STOPWORDS, clean
from irr.types import Query, QueryKind

INFER = SpanInferer(InferSettings())


def queries(text: str, kind: QueryKind) -> list[str]:
    (found,) = INFER.infer([text])
    return [query.text for query in found.queries if query.kind is kind]


def test_spans_are_windows_between_content_words() -> None:
    assert queries("You will work with C++ and node.js.", QueryKind.SPAN) == [
        "work",
        "work with C++",
        "work with C++ and node.js",
        "C++",
        "C++ and node.js",
        "node.js",
    ]


def test_spans_do_not_run_across_punctuation_or_lines() -> None:
    spans = queries("bake bread, wash dishes\nplan menus", QueryKind.SPAN)
    assert "bread wash" not in spans
    assert "dishes plan" not in spans
    assert {"bake bread", "wash dishes", "plan menus"} <= set(spans)


def test_numbers_alone_are_no_spans_but_names_with_numbers_are() -> None:
    spans = queries("5 years of Python3 experience in 2019", QueryKind.SPAN)
    assert "5" not in spans
    assert "2019" not in spans
    assert "years of Python3 experience" in spans


@given(st.text(max_size=300))
def test_any_text_gives_bounded_distinct_queries(text: str) -> None:
    (inference,) = INFER.infer([text])
    found = inference.queries
    assert len(set(found)) == len(found)
    for query in found:
        if query.kind is QueryKind.SPAN:
            words = query.text.split(" ")
            assert len(words) <= 5
            assert words[0].lower() not in STOPWORDS
            assert words[-1].lower() not in STOPWORDS


def test_a_long_text_is_read_to_its_end() -> None:
    text = "".join(f"Filler number{i}. " for i in range(2_000)) + "They baked sourdough."
    passages = queries(text, QueryKind.TEXT)
    assert len(passages) > 10
    assert passages[-1].endswith("They baked sourdough.")
    assert "baked sourdough" in queries(text, QueryKind.SPAN)


def test_a_long_text_without_spaces_is_read_in_pieces() -> None:
    text = "".join(chr(0x4E00 + i) for i in range(3_000))
    passages = queries(text, QueryKind.TEXT)
    assert all(len(passage) <= 520 for passage in passages)
    assert passages[-1].endswith(text[-10:])
    assert max(len(span) for span in queries(text, QueryKind.SPAN)) < 60


def test_chinese_is_read_character_by_character() -> None:
    spans = queries("今天找电工，修理电线", QueryKind.SPAN)
    assert {"电工", "修理电线"} <= set(spans)
    assert not any("工修" in span for span in spans)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Etsimme sähköasentajaa, joka osaa lukea piirustuksia.",
            {"sähköasentajaa", "osaa lukea piirustuksia"},
        ),
        ("Erfahrung im Straßenbau; Kenntnisse der Statik", {"Erfahrung im Straßenbau", "Statik"}),
        ("Γνώση προγραμματισμού· σχεδιασμός λογισμικού.", {"προγραμματισμού", "σχεδιασμός λογισμικού"}),
        ("熟悉软件工程。会做饭", {"软件工程", "做饭"}),
        ("خبرة في البرمجة، إدارة المشاريع", {"البرمجة", "إدارة المشاريع"}),
        ("उन्हें हिन्दी भाषा आती है।", {"हिन्दी भाषा"}),
        ("ソフトウェア開発の経験", {"ソフトウェア", "開発"}),
    ],
    ids=["Finnish", "German", "Greek", "Chinese", "Arabic", "Hindi", "Japanese"],
)
def test_spans_of_any_language(text: str, expected: set[str]) -> None:
    assert expected <= set(queries(text, QueryKind.SPAN))


def test_every_query_says_where_it_stands() -> None:
    text = "We bake bread. " * 40 + "They supervise 厨房员工 and the staff."
    (inference,) = INFER.infer([text])
    assert max(query.passage for query in inference.queries) > 1
    for query in inference.queries:
        place = text[query.start : query.end]
        assert " ".join(place.split()) == query.text


def test_numbers_with_points_are_numbers() -> None:
    assert queries("version 3.5 or 4/5", QueryKind.SPAN) == ["version"]


def test_a_short_text_is_its_own_passage() -> None:
    (inference,) = INFER.infer(["!!!"])
    assert inference.queries == (Query(text="!!!", kind=QueryKind.TEXT, start=0, end=3),)
    assert queries("包饺子", QueryKind.TEXT) == ["包饺子"]


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("", ""),
        (" \n\t ", ""),
        ("\x00\x01\x7f", ""),
        ("\u200b\ufeff", ""),
        ("\ud800 bake", "bake"),
        ("a\x00b", "a b"),
        ("line\nline", "line\nline"),
        ("🎉", "🎉"),
    ],
)
def test_clean(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


def test_the_settings_say_how_long_passages_and_spans_are() -> None:
    settings = InferSettings(passage_words=6, passage_overlap=0, span_words=1)
    (inference,) = SpanInferer(settings).infer(["one two three four five six seven eight nine ten"])
    kinds = [query.kind for query in inference.queries]
    assert kinds.count(QueryKind.TEXT) == 2
    assert all(" " not in query.text for query in inference.queries if query.kind is QueryKind.SPAN)
