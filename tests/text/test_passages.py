"""Passages: where a long text is cut, and what of it is shown."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from irr.text.words import excerpt, passages, words


def parts(text: str) -> list[str]:
    return [text[start:end] for start, end in passages(text, 60, 500, 20)]


def test_a_short_text_is_one_passage() -> None:
    assert parts("Bake bread. Wash up.") == ["Bake bread. Wash up."]
    assert parts("") == [""]


def test_passages_keep_sentences_whole_and_share_them() -> None:
    text = " ".join(f"Sentence {i} has some seven words here." for i in range(40))
    found = parts(text)
    assert len(found) > 3
    for part in found:
        assert part.startswith("Sentence")
        assert part.rstrip().endswith("here.")
        assert len(list(words(part))) <= 60
    for one, other in pairwise(found):
        assert other.split(".")[0] in one


def test_a_sentence_without_end_is_cut_by_words() -> None:
    found = parts("word " * 500)
    assert all(len(list(words(part))) <= 60 for part in found)
    assert len(found) == 12


@given(st.text(alphabet=st.sampled_from("ab .\n。包ا"), max_size=3_000))
def test_no_word_is_lost(text: str) -> None:
    places = list(passages(text, 60, 500, 20))
    assert places[0][0] == 0
    assert places[-1][1] == len(text)
    held = {word for start, end in places for word in words(text) if start <= word[0] and word[1] <= end}
    assert held == set(words(text))


def test_an_excerpt_is_what_matters_most_in_text_order() -> None:
    text = "".join(f"[{i:03}]" for i in range(100))
    place = {i: (5 * i, 5 * i + 5) for i in range(100)}
    assert excerpt(text, [place[3]], 500) == text
    assert excerpt(text, [place[70], place[3], place[4], place[9]], 15) == "[003][004] … [070]"
    assert excerpt(text, [(0, 20), (10, 30)], 40) == text[:30]
    assert excerpt(text, [], 15) == text[:15]
