"""Recorded answers as a model: a large model's own answers to eight texts of the ESCO dev sets, replayed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import InputError, LMError
from irr.frozen.freeze import freeze, load
from irr.lm.loop import run_on_loop
from irr.lm.protocol import ChatRequest, metered
from irr.lm.recorded import RecordedAnswer, RecordedModel
from irr.lm.registry import name_of, open_model
from irr.program.program import InferRetrieveRank, build
from irr.prompts.chat import RankingPrompt, TermPrompt
from irr.prompts.pack import Demo, load_task
from irr.text.words import clean
from tests.support import Irr, read_jsonl, write_jsonl

FILE = Path(__file__).parents[1] / "data" / "recorded_esco.jsonl"
ANSWERS = [RecordedAnswer(**row) for row in read_jsonl(FILE)]
RANKINGS = {answer.text: answer for answer in ANSWERS if answer.stage == "rank"}
TEXTS = list(RANKINGS)
NAMES = sorted({name for answer in RANKINGS.values() for name in answer.candidates})
GOLD = {
    "teamwork": ["work in teams"],
    "are fluent in SQL": ["SQL"],
    "work in agile/scrum": ["Agile development"],
    "reactjs cloud python": ["cloud technologies", "Python (computer programming)"],
    "Have experience with people management": ["personnel management"],
    "You are proficient in Python and English": ["English", "Python (computer programming)"],
    "deploy apps to Heroku and/or AWS": ["deploy ICT systems"],
    "celebrate reward and promote .": ["reinforce positive behaviour"],
}
ASK = RankingPrompt(load_task("esco"), 2)


def asked(request: ChatRequest, model: RecordedModel | None = None) -> Any:
    return json.loads(run_on_loop((model or RecordedModel(ANSWERS)).chat(request)))


@pytest.fixture(scope="module")
def program_of(encoder: SentenceEncoder, index_folder: Path) -> Callable[..., InferRetrieveRank]:
    def program(names: list[str] = NAMES, **models: Any) -> InferRetrieveRank:
        settings = Settings().replace({"rank.listwise_weight": 10.0})
        return build(
            names, encoder=encoder, settings=settings, task="esco", index_folder=index_folder, **models
        )

    return program


def test_a_program_ranks_as_the_model_did(program_of: Callable[..., InferRetrieveRank]) -> None:
    model = RecordedModel(ANSWERS)
    program = program_of(infer_lm=model, rank_lm=model)
    for text, prediction in zip(TEXTS, program.batch(TEXTS), strict=True):
        named, found = RANKINGS[text].named, [label.name for label in prediction.labels]
        assert not prediction.fallbacks
        assert found[:5] == [name for name in named if name in found][:5]
        assert set(GOLD[text]) <= set(found)
    assert model.shown == 50 * len(TEXTS)


def test_a_ranking_serves_other_candidates_and_counts_what_is_new_to_it() -> None:
    answer = RANKINGS["teamwork"]
    kept = [name for name in answer.candidates if name not in answer.named[:2]][::-1]
    model = RecordedModel(ANSWERS)
    with metered() as meter:
        ranking = asked(ASK.request("teamwork", ["a label of another space", *kept], 10), model)["ranking"]
    assert [kept[number - 2] for number in ranking] == answer.named[2:]
    assert meter.usage.dropped == 2
    assert (model.shown, model.unseen) == (1 + len(kept), 1)


def test_the_prompt_may_be_another_one() -> None:
    demos = [Demo(text="python", terms=("Python (computer programming)",))]
    esco, default = (TermPrompt(load_task(task), 3) for task in ("esco", "default"))
    answers = [
        asked(request)
        for request in (
            esco.request("teamwork"),
            esco.request("teamwork", demos),
            default.request("teamwork"),
        )
    ]
    assert answers[0]["terms"]
    assert answers[0] == answers[1] == answers[2]


lines = st.lists(st.text("ab:1 2é\x92", min_size=1), min_size=1, max_size=4).map("\n".join)


@given(
    text=lines.map(clean).filter(bool),
    names=st.lists(st.text("xy: 1\n", min_size=1), min_size=1, max_size=12),
)
def test_what_prompts_write_is_read_back(text: str, names: list[str]) -> None:
    shown = [" ".join(name.split()) for name in names]
    first = RecordedAnswer(stage="rank", text=text, candidates=tuple(shown), ranking=(1,))
    model = RecordedModel([RecordedAnswer(stage="infer", text=text, terms=("t",)), first])
    assert asked(TermPrompt(load_task("default"), 2).request(text), model) == {"terms": ["t"]}
    assert asked(ASK.request(text, names, 10), model) == {"ranking": [1]}
    assert (model.shown, model.unseen) == (len(names), 0)


def test_a_text_is_known_as_programs_read_it(program_of: Callable[..., InferRetrieveRank]) -> None:
    told = RecordedAnswer(stage="infer", text="You\x92ll  work\nin teams\x00", terms=("teamwork principles",))
    prediction = program_of(infer_lm=RecordedModel([told]))(told.text)
    assert not prediction.fallbacks


def test_what_was_not_recorded_is_no_answer() -> None:
    with pytest.raises(LMError, match="no answer of rank is recorded") as error:
        asked(ASK.request("bake bread", NAMES[:3], 10))
    assert error.value.code == "unrecorded"
    with pytest.raises(LMError, match="only terms and rankings"):
        asked(ChatRequest((("user", "Write a prompt."),)))


def test_a_frozen_program_opens_the_file_again_and_answers_alike(
    program_of: Callable[..., InferRetrieveRank], index_folder: Path, tmp_path: Path
) -> None:
    model = open_model(f"recorded/{FILE}")
    program = program_of(infer_lm=model, rank_lm=model)
    freeze(program, tmp_path / "program")
    (tmp_path / "program").rename(tmp_path / "moved")
    loaded = load(tmp_path / "moved", index_folder=index_folder)
    assert loaded.digest == program.digest
    assert list(loaded.batch(TEXTS)) == list(program.batch(TEXTS))


def test_weights_are_chosen_by_recorded_answers(irr: Irr, tmp_path: Path) -> None:
    labels = write_jsonl(tmp_path / "labels.jsonl", ({"id": name, "name": name} for name in NAMES))
    rows = [{"id": i, "text": text, "labels": gold} for i, (text, gold) in enumerate(GOLD.items())]
    train = write_jsonl(tmp_path / "train.jsonl", rows)
    call = ("--labels", labels, "--train", train, "--val", train, "--output", tmp_path / "program")
    result = irr("optimize", *call, "--lm", f"recorded/{FILE}", "--optimizer", "none", "--task", "esco")
    assert result.returncode == 0, result.stderr
    tried = {trial["what"] for trial in read_jsonl(tmp_path / "program" / "trials.jsonl")}
    assert {"prompts as given", "retrieve.term_weight=1", "rank.listwise_weight=1"} <= tried


def test_a_row_that_is_no_answer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"stage": "infer", "text": "x", "terms": ["y"]}\n{"stage": "cook", "text": "x"}\n')
    with pytest.raises(InputError, match=r'answers.jsonl, row 2: "stage"'):
        open_model(f"recorded/{path}")
    path.write_text("\n")
    with pytest.raises(InputError, match="holds no answers"):
        open_model(f"recorded/{path}")


def test_texts_that_were_not_recorded_are_said_to_have_done_without(
    irr: Irr, labels_file: Path, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "t.jsonl", [{"id": 1, "text": "bake bread"}])
    result = irr(
        "classify", "--labels", labels_file, "--input", source, "--output", "-", "--lm", f"recorded/{FILE}"
    )
    assert result.returncode == 1
    assert "1 of 1 text answered WITHOUT THE LANGUAGE MODEL" in result.stderr


def test_its_name_opens_it_again_and_a_servers_name_does_not() -> None:
    assert name_of(f"recorded/{FILE}") == f"recorded/{FILE}"
    assert name_of("Qwen/Qwen3-30B") == "openai/Qwen/Qwen3-30B"
    assert name_of("embedded") == "embedded"


def test_candidates_may_be_shown_with_more_than_their_names() -> None:
    names = RANKINGS["teamwork"].candidates
    shown = [f"{name} – what it is" for name in names]
    assert asked(ASK.request("teamwork", shown, 10, names=names)) == asked(ASK.request("teamwork", names, 10))


def test_what_dspy_asks_is_answered_too(program_of: Callable[..., InferRetrieveRank]) -> None:
    model = RecordedModel(ANSWERS)
    program = program_of(infer_lm=model, rank_lm=model)
    prediction = program.module()(text="teamwork")["prediction"]
    assert not prediction.fallbacks
    assert prediction.labels[:10] == program("teamwork").labels
    assert model.shown == 2 * 50
