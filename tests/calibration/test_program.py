"""A program is frozen, calibrated, moved and run, as a user types it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import irr as package
from irr.calibration.decision import Decision
from irr.calibration.fit import calibrate
from irr.errors import ProgramError, UsageError
from irr.frozen.freeze import freeze
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank
from tests.doubles.scripted import ScriptedModel
from tests.support import Irr, read_jsonl, write_jsonl

WORDS = {
    "bake": "knead the dough|take loaves out of the oven|bake rolls in the morning|make bread and loaves",
    "wash": "clean the plates|scrub dirty pots|wash up after lunch|dry dishes and cutlery",
    "buy": "order flour from the mill|purchase ingredients|procurement of vegetables|buy supplies in bulk",
    "staff": "lead a team of cooks|supervise the kitchen|train new kitchen staff|write the duty roster",
}
GOLD = [
    GoldRow(id=f"{label}-{number}-{when}", text=f"{text} {when}", labels=(label,))
    for when in ("on Mondays", "every day", "for the canteen")
    for label, texts in WORDS.items()
    for number, text in enumerate(texts.split("|"))
]
NONSENSE = "xq zvw kjp"


@pytest.fixture(scope="module")
def calibrated(program: InferRetrieveRank, index_folder: Path) -> InferRetrieveRank:
    return calibrate(program, GOLD)


@pytest.fixture(scope="module")
def folder(program: InferRetrieveRank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frozen program that is not calibrated."""
    folder = tmp_path_factory.mktemp("frozen") / "program"
    freeze(program, folder)
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows: list[Mapping[str, Any]] = [{"id": row.id, "text": row.text} for row in GOLD]
    return write_jsonl(tmp_path_factory.mktemp("texts") / "t.jsonl", [*rows, {"id": "odd", "text": NONSENSE}])


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [row.model_dump(include={"id", "text", "labels"}) for row in GOLD]
    return write_jsonl(tmp_path_factory.mktemp("gold") / "gold.jsonl", rows)


def test_labels_have_no_probability_until_the_program_is_calibrated(
    program: InferRetrieveRank, calibrated: InferRetrieveRank
) -> None:
    before, after = program(GOLD[0].text), calibrated(GOLD[0].text)
    assert all(label.probability is None for label in before.labels)
    assert before.scope is None
    assert [label.id for label in after.labels] == [label.id for label in before.labels]
    assert all(0 < (label.probability or 0) < 1 for label in after.labels)
    assert (after.labels[0].probability or 0) > 0.5
    assert program.digest != calibrated.digest
    assert program.ranking_digest == calibrated.ranking_digest


def test_choices_need_a_calibrated_program_and_cut_its_rankings(
    program: InferRetrieveRank, calibrated: InferRetrieveRank
) -> None:
    with pytest.raises(UsageError, match="not calibrated"):
        program("bake bread", decision=Decision(min_probability=0.5))
    sure = calibrated("bake bread and loaves", decision=Decision(min_probability=0.5))
    assert [label.id for label in sure.labels] == ["bake"]
    assert len(calibrated("bake bread and loaves", 2, decision=Decision(min_probability=0.0)).labels) == 2
    never = calibrated("bake bread and loaves", decision=Decision(min_probability=1.0))
    assert never.abstained
    assert never.labels == ()
    with pytest.raises(UsageError, match="leave top_k out"):
        calibrated("bake bread", 3, decision=Decision(recall=0.8))


def test_a_calibration_of_another_program_is_refused(
    calibrated: InferRetrieveRank, kitchen: LabelSpace, encoder: package.SentenceEncoder, index_folder: Path
) -> None:
    settings = package.Settings().replace({"retrieve.text_weight": 0.5})
    other = package.build(kitchen, encoder=encoder, settings=settings, index_folder=index_folder)
    with pytest.raises(ProgramError, match="fitted for another program"):
        other.calibrated(calibrated.calibration)


def test_an_example_does_not_speak_for_its_own_text(
    kitchen: LabelSpace, encoder: package.SentenceEncoder, index_folder: Path
) -> None:
    """With its own example each text would have a neighbour of similarity 1, and be far too sure."""
    examples = [{"text": row.text, "labels": row.labels} for row in GOLD]
    program = package.build(kitchen, encoder=encoder, examples=examples, index_folder=index_folder)
    calibration = calibrate(program, GOLD).calibration
    assert calibration is not None
    nearest = calibration.scope.center[2]
    assert 0.3 < nearest < 0.99


def test_what_a_model_did_not_rank_has_no_probability(
    calibrated: InferRetrieveRank, kitchen: LabelSpace, encoder: package.SentenceEncoder, index_folder: Path
) -> None:
    silent = ScriptedModel()
    program = package.build(kitchen, encoder=encoder, index_folder=index_folder, rank_lm=silent)
    assert calibrated.calibration is not None
    fitted = calibrated.calibration.model_copy(update={"program": program.ranking_digest})
    program = program.calibrated(fitted)
    assert all(label.probability is None for label in program("bake bread").labels)
    assert program("bake bread", decision=Decision(min_probability=0.1)).abstained


def test_freeze_calibrate_move_and_classify(
    irr: Irr, folder: Path, gold: Path, texts: Path, tmp_path: Path
) -> None:
    here, out = tmp_path / "here", tmp_path / "out.jsonl"
    shutil.copytree(folder, here)
    run = ("classify", "--input", texts, "--output", out, "--restart", "--program")
    refused = irr(*run, here, "--min-probability", "0.5")
    assert refused.returncode == 2
    assert f"run irr calibrate --program {here} --gold FILE first" in refused.stderr
    made = irr("calibrate", "--program", here, "--gold", gold)
    assert made.returncode == 0, made.stderr
    assert "calibrated on 48 texts" in made.stdout
    assert irr(*run, here, "--top-k", "3").returncode == 0
    first = read_jsonl(out)
    assert all(len(row["labels"]) == 3 and "abstained" not in row for row in first)
    assert all({"id", "name", "score", "probability"} == label.keys() for label in first[0]["labels"])
    there = tmp_path / "there"
    shutil.move(here, there)
    summary = tmp_path / "summary.json"
    ran = irr(*run, there, "--min-probability", "0.5", "--summary", summary)
    assert ran.returncode == 0, ran.stderr
    rows = read_jsonl(out)
    known = {row["id"]: {label["id"]: label["probability"] for label in row["labels"]} for row in first}
    for row in rows:
        assert all(label["probability"] >= 0.5 for label in row["labels"])
        shared = [label for label in row["labels"] if label["id"] in known[row["id"]]]
        assert all(label["probability"] == known[row["id"]][label["id"]] for label in shared)
    assert rows[-1] == {
        "id": "odd",
        "labels": [],
        "error": None,
        "abstained": True,
        "scope": rows[-1]["scope"],
    }
    abstained = sum("abstained" in row for row in rows)
    assert json.loads(summary.read_text())["abstained"] == abstained
    assert f'{abstained} of 49 texts without labels ("abstained")' in ran.stderr
    assert "calibrated on 48 texts" in irr("show", there).stdout


def test_a_promise_that_the_gold_cannot_support_is_refused_before_anything_is_done(
    irr: Irr, folder: Path, gold: Path, texts: Path, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    shutil.copytree(folder, here)
    assert irr("calibrate", "--program", here, "--gold", gold).returncode == 0
    out = tmp_path / "out.jsonl"
    refused = irr("classify", "--input", texts, "--output", out, "--program", here, "--precision", "0.99")
    assert refused.returncode == 2
    assert "48 texts with gold cannot promise a precision of 0.99, " in refused.stderr
    assert not out.exists()
    two = irr(
        "classify", "--input", texts, "--output", out, "--program", here, "--best-f1", "--recall", "0.5"
    )
    assert two.returncode == 2
    assert "--recall and --best-f1 are two ways to choose labels" in two.stderr


def test_a_shift_is_said(irr: Irr, folder: Path, gold: Path, texts: Path, tmp_path: Path) -> None:
    here, out = tmp_path / "here", tmp_path / "out.jsonl"
    shutil.copytree(folder, here)
    assert irr("calibrate", "--program", here, "--gold", gold).returncode == 0
    run = ("classify", "--output", out, "--restart", "--program", here, "--input")
    assert "not like" not in irr(*run, texts).stderr
    odd = write_jsonl(tmp_path / "odd.jsonl", [{"id": n, "text": f"{NONSENSE} {n}"} for n in range(60)])
    assert "unlike the 48 that the program was calibrated on" in irr(*run, odd).stderr
