"""Rank by a language model: whatever it answers, the candidates come back, each once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irr.config import RankSettings, Settings
from irr.errors import LMError
from irr.lm.protocol import ChatRequest
from irr.prompts.pack import load_task
from irr.rank.ranker import Listwise, LMRanker, Pointwise, depth
from irr.types import Candidate, Label, Ranking
from tests.doubles.scripted import ScriptedModel

TASK = load_task("esco")
NAMES = ["bake bread", "wash dishes", "C++, \n advanced", "plan menus", "order supplies"]
CANDIDATES = [
    Candidate(label=Label(id=f"l{i}", name=name, description="What it is."), score=1.5 - i / 10)
    for i, name in enumerate(NAMES)
]


def reading(most: int, least: int = 1, gap: float = 0.0) -> Settings:
    """Settings by which the model reads so many candidates."""
    return Settings().replace(
        {"retrieve.candidates": most, "rank.listwise_count": least, "rank.score_gap": gap}
    )


def ids(ranking: Ranking) -> list[str]:
    return [label.id for label in ranking.labels]


def listwise(
    answer: str | LMError, window: int = 0, most: int = 50, names: Sequence[Candidate] = CANDIDATES
) -> tuple[Ranking, ScriptedModel]:
    model = ScriptedModel(lambda request: answer)
    ranker = LMRanker(Listwise(model, TASK, RankSettings(window=window)), 2.0, reading(most))
    (ranking,) = ranker.rank(["Some text"], [names])
    return ranking, model


def test_named_candidates_come_first_and_the_others_follow_as_retrieved() -> None:
    ranking, model = listwise('{"ranking": [4, 2]}')
    assert ids(ranking) == ["l3", "l1", "l0", "l2", "l4"]
    assert ranking.fallback is None
    assert ranking.usage.calls == 1
    schema = model.requests[0].schema
    assert schema is not None
    assert schema["properties"]["ranking"]["items"]["maximum"] == len(NAMES)
    scores = [label.score for label in ranking.labels]
    assert scores == sorted(scores, reverse=True)


def test_candidates_are_numbered_one_a_line_after_all_that_is_constant() -> None:
    model = ScriptedModel(lambda request: '{"ranking": [1]}')
    LMRanker(Listwise(model, TASK, RankSettings()), 2.0, reading(50)).rank(
        ["One", "Two"], [CANDIDATES, CANDIDATES[:2]]
    )
    one, two = model.requests
    assert one.messages[:-1] == two.messages[:-1]
    assert re.findall(r"^\d+.*$", one.messages[-1][1], re.M) == [
        "1 bake bread",
        "2 wash dishes",
        "3 C++, advanced",
        "4 plan menus",
        "5 order supplies",
    ]


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.integers(-3, 60), max_size=80), st.integers(0, 4))
def test_any_numbers_give_a_permutation(numbers: list[int], window: int) -> None:
    ranking, _ = listwise(json.dumps({"ranking": numbers}), window=window)
    assert sorted(ids(ranking)) == sorted(c.label.id for c in CANDIDATES)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (LMError("server_error", "500"), "server_error"),
        (LMError("truncated", "cut"), "truncated"),
        ("bake bread is the best", "unparsable"),
        ('{"ranking": []}', "empty"),
        ('{"ranking": [99, 0]}', "empty"),
        ('{"ranking": ["bake bread"]}', "unparsable"),
    ],
)
def test_a_model_that_fails_leaves_the_retrieval_order_and_says_so(answer: str | LMError, code: str) -> None:
    ranking, _ = listwise(answer)
    assert ids(ranking) == [c.label.id for c in CANDIDATES]
    assert [label.score for label in ranking.labels] == [c.score for c in CANDIDATES]
    assert ranking.fallback is not None
    assert (ranking.fallback.stage, ranking.fallback.code) == ("rank", code)


def test_a_text_cannot_bring_in_labels_of_its_own() -> None:
    """Even a model that obeys the text can only reorder the candidates."""
    ranking, _ = listwise('{"ranking": [5], "labels": ["l99"]}')
    assert sorted(ids(ranking)) == sorted(c.label.id for c in CANDIDATES)
    assert ids(ranking)[0] == "l4"


def test_a_sliding_window_carries_the_best_to_the_front() -> None:
    """The scripted model always names the last candidate it sees; window 3, step 1, from the end."""
    model = ScriptedModel(
        lambda request: json.dumps({"ranking": [len(re.findall(r"^\d+ ", request.messages[-1][1], re.M))]})
    )
    ranker = LMRanker(Listwise(model, TASK, RankSettings(demos=0, window=3)), 2.0, reading(50))
    (ranking,) = ranker.rank(["t"], [CANDIDATES])
    # [2 3 4] -> 4 first; [1 4 2] -> 2 first; [0 2 1] -> 1 first
    assert len(model.requests) == 3
    assert ids(ranking)[0] == "l1"
    assert sorted(ids(ranking)) == sorted(c.label.id for c in CANDIDATES)


def test_a_second_pass_takes_the_advantage_of_a_place_away() -> None:
    def ranked(answer: Callable[[list[str]], list[int]], passes: int) -> Ranking:
        def reply(request: ChatRequest) -> str:
            lines = re.findall(r"^\d+ (.*)$", request.messages[-1][1], re.M)
            return json.dumps({"ranking": answer(lines)})

        evidence = Listwise(ScriptedModel(reply), TASK, RankSettings(passes=passes))
        (ranking,) = LMRanker(evidence, 2.0, reading(50)).rank(["t"], [CANDIDATES])
        return ranking

    def as_they_stand(names: list[str]) -> list[int]:
        return [*range(1, len(names) + 1)]

    def by_meaning(names: list[str]) -> list[int]:
        return [names.index("plan menus") + 1]

    gains = [
        label.score - c.score for label, c in zip(ranked(as_they_stand, 2).labels, CANDIDATES, strict=True)
    ]
    assert gains == pytest.approx([1.2] * len(CANDIDATES)), "an order that says nothing changes nothing"
    for passes in (1, 2, 5):
        assert ids(ranked(by_meaning, passes)) == ["l3", "l0", "l1", "l2", "l4"]
    assert ranked(by_meaning, 5) == ranked(by_meaning, 5)


def test_that_none_fits_is_an_answer_only_where_it_was_allowed() -> None:
    def ranked(answer: str, none_fits: bool) -> tuple[Ranking, ScriptedModel]:
        model = ScriptedModel(lambda _: answer)
        evidence = Listwise(model, TASK, RankSettings(none_fits=none_fits))
        (ranking,) = LMRanker(evidence, 2.0, reading(50)).rank(["t"], [CANDIDATES])
        return ranking, model

    ranking, model = ranked('{"ranking": []}', True)
    assert ranking.fallback is None
    assert [label.score for label in ranking.labels] == [candidate.score for candidate in CANDIDATES]
    assert "none if no candidate applies" in model.requests[0].messages[0][1]
    ranking, model = ranked('{"ranking": []}', False)
    assert ranking.fallback and ranking.fallback.code == "empty"
    assert "none if" not in model.requests[0].messages[0][1]
    # Numbers of no candidate are no such answer.
    ranking, _ = ranked('{"ranking": [99]}', True)
    assert ranking.fallback and ranking.fallback.code == "empty"


def test_candidates_far_below_the_best_are_not_shown_and_follow() -> None:
    scores = [1.5, 1.4, 1.3, 1.2, 1.1]
    assert depth(reading(50), scores) == 50
    assert depth(reading(50, gap=0.25), scores) == 3
    assert depth(reading(2, gap=0.25), scores) == 2
    assert depth(reading(50, least=4, gap=0.05), scores) == 4
    model = ScriptedModel(lambda request: '{"ranking": [2]}')
    ranker = LMRanker(Listwise(model, TASK, RankSettings()), 2.0, reading(50, gap=0.15))
    (ranking,) = ranker.rank(["Some text"], [CANDIDATES])
    assert "3 C++" not in model.requests[0].messages[-1][1]
    assert ids(ranking) == ["l1", "l0", "l2", "l3", "l4"]


def test_candidates_are_shown_with_the_beginning_of_their_description() -> None:
    model = ScriptedModel(lambda request: '{"ranking": [1]}')
    long = Label(id="x", name="bake", description="Mix, knead\nand bake dough until it is done.")
    candidates = [Candidate(label=long, score=1.0), Candidate(label=Label(id="y", name="wash"), score=0.9)]
    settings = RankSettings(description_characters=20)
    LMRanker(Listwise(model, TASK, settings), 2.0, reading(50)).rank(["Some text"], [candidates])
    lines = model.requests[0].messages[-1][1].splitlines()
    assert lines[-2:] == ["1 bake – Mix, knead and bake…", "2 wash"]


def test_candidates_beyond_the_depth_follow() -> None:
    ranking, model = listwise('{"ranking": [2, 1]}', most=2)
    assert ids(ranking) == ["l1", "l0", "l2", "l3", "l4"]
    assert "plan menus" not in model.requests[0].messages[-1][1]


def test_no_candidates_need_no_model() -> None:
    ranking, model = listwise('{"ranking": [1]}', names=[])
    assert ranking.labels == ()
    assert model.requests == []


def test_judgements_are_corrected_by_a_text_that_says_nothing() -> None:
    model = ScriptedModel()
    ranker = LMRanker(Pointwise(model, TASK, demos=2), 1.0, reading(50))
    first, second = ranker.rank(["bake bread", "bake bread"], [CANDIDATES, CANDIDATES])
    assert first.labels[0].id == "l0"
    assert sorted(ids(first)) == sorted(c.label.id for c in CANDIDATES)
    assert [label.score for label in first.labels] == [label.score for label in second.labels]
    contexts = [context for _, context, _ in model.judged]
    assert any("N/A" in context for context in contexts)
    prefixes = {prefix for prefix, _, _ in model.judged}
    assert len(prefixes) == 1
    asked = len(model.judged)
    ranker.rank(["wash"], [CANDIDATES])
    assert len(model.judged) == asked + 1, "what is known of a label is asked again"


def test_a_judge_that_fails_leaves_the_retrieval_order() -> None:
    model = ScriptedModel(fails=LMError("unreachable", "connection refused"))
    (ranking,) = LMRanker(Pointwise(model, TASK, demos=2), 1.0, reading(50)).rank(["t"], [CANDIDATES])
    assert ids(ranking) == [c.label.id for c in CANDIDATES]
    assert ranking.fallback is not None
    assert ranking.fallback.code == "unreachable"
