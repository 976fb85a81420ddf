"""Labels by a language model: what it is asked, its budget, answers of no use, and a kill in between."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import LMError, OutputError
from irr.lm.protocol import ChatRequest
from irr.workbench.draft import DraftPlan, draft
from irr.workbench.draft.taxonomy import Taxonomy, propose_taxonomy
from tests.doubles.kills import kill_once_it_has_answers
from tests.doubles.scripted import ScriptedModel
from tests.support import Irr, write_jsonl
from tests.workbench.draft.test_draft import TEXTS, THINGS

LABELS = [f"{thing.split()[-1]}: all about {thing}" for thing in THINGS]


def reply(request: ChatRequest) -> str:
    assert request.schema
    (field,) = request.schema["properties"]
    if field == "summaries":
        return json.dumps({field: ["Asks about a thing."] * request.schema["properties"][field]["maxItems"]})
    return json.dumps({"labels": LABELS})


def run(folder: Path, model: ScriptedModel, calls: int | None = None, texts: int = 30) -> Taxonomy:
    return propose_taxonomy(TEXTS[:texts], model, folder / "answers", 6, calls)


def test_batches_are_summarized_then_labels_proposed_and_reviewed_each_held_to_a_schema(
    tmp_path: Path,
) -> None:
    model = ScriptedModel(reply)
    found = run(tmp_path, model)
    assert [f"{name}: {said}" for name, said in found.labels.items()] == LABELS
    assert (found.calls, found.unusable, found.stopped) == (5, 0, "")
    asked = [next(iter((request.schema or {})["properties"])) for request in model.requests]
    assert asked == ["summaries"] * 3 + ["labels"] * 2
    assert "Review" in model.requests[-1].messages[0][1]


def test_a_budget_ends_it_and_a_larger_one_goes_on_without_asking_twice(tmp_path: Path) -> None:
    model = ScriptedModel(reply)
    found = run(tmp_path, model, calls=4)
    assert "budget" in found.stopped
    assert (found.calls, len(found.labels)) == (4, 6)
    found = run(tmp_path, model, calls=5)
    assert (found.calls, found.stopped, len(model.requests)) == (5, "", 5)


def test_an_answer_of_no_use_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    answers = iter(["nonsense", "[]"])

    def sometimes(request: ChatRequest) -> str | LMError:
        return next(answers, None) or reply(request)

    found = run(tmp_path, ScriptedModel(sometimes))
    assert found.unusable == 2
    assert len(found.labels) == 6


def test_what_a_kill_left_of_a_line_is_cut_off_and_a_foreign_file_is_not_touched(tmp_path: Path) -> None:
    model = ScriptedModel(reply)
    run(tmp_path, model)
    path = tmp_path / "answers"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert run(tmp_path, model).calls == 5
    assert len(model.requests) == 6
    assert path.read_bytes() == whole
    path.write_text("my notes\n")
    with pytest.raises(OutputError):
        run(tmp_path, model)
    assert path.read_text() == "my notes\n"


def test_texts_go_under_the_labels_that_speak_of_them(encoder: SentenceEncoder, tmp_path: Path) -> None:
    model = ScriptedModel(reply)
    labels = draft(TEXTS, encoder, DraftPlan(6), lm=model, answers=tmp_path / "answers").labels
    assert [label.id for label in labels] == [f"d{n:03}" for n in range(1, 7)]
    for label in labels:
        assert label.examples
        assert all(label.name in text for text in label.examples)


def test_the_small_model_runs_to_its_end_though_it_is_killed_on_the_way(
    irr: Irr, model_folder: Path, tmp_path: Path
) -> None:
    texts = write_jsonl(tmp_path / "t.jsonl", [{"id": i, "text": text} for i, text in enumerate(TEXTS)])
    labels = tmp_path / "labels.jsonl"
    answers = Path(f"{labels}.answers")
    call = ["draft", "--input", str(texts), "--output", str(labels), "--size", "2"]
    call += ["--lm", "embedded", "--lm-texts", "2", "--budget", "3"]
    kill_once_it_has_answers(call, answers)
    assert not labels.exists()
    before = answers.read_bytes()
    ended = irr(*call)
    assert ended.returncode in (0, 1), ended.stderr
    found = re.search(r"(\d+) answers? of embedded", ended.stderr)
    assert found
    assert int(found[1]) <= 3
    assert before
    assert labels.read_text()
