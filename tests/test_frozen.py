"""A frozen program reloads to the same answers, and says what is wrong with a folder that it cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Irr, read_jsonl, write_jsonl

import irr as package
from irr.errors import ProgramError
from irr.rank import RetrievalRanker
from irr.settings import Settings

TEXTS = ["Bake bread and plan the menus", "purchasing of ingredients", "C++, 包饺子"]


@pytest.fixture(scope="module")
def frozen(
    encoder: package.SentenceEncoder, kitchen: package.LabelSpace, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("frozen")
    settings = Settings(text_weight=0.5, alias_margin=0.2, candidates=5, prior_weight=1.0)
    program = package.build(kitchen, encoder=encoder, settings=settings, index_folder=folder / "indexes")
    package.freeze(program, folder / "program")
    (folder / "answers.json").write_text(
        json.dumps([p.model_dump(mode="json") for p in program.batch(TEXTS)]), "utf-8"
    )
    return folder


def test_it_reloads_to_the_same_answers_elsewhere(frozen: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.symlink_to(frozen / "program")
    program = package.load(moved, index_folder=tmp_path / "indexes")
    expected = json.loads((frozen / "answers.json").read_text("utf-8"))
    for prediction, answer in zip(program.batch(TEXTS), expected, strict=True):
        assert [label.id for label in prediction.labels] == [label["id"] for label in answer["labels"]]
        scores = [label["score"] for label in answer["labels"]]
        assert [label.score for label in prediction.labels] == pytest.approx(scores, abs=1e-5)
    assert program.settings.alias_margin == 0.2


def test_it_is_json_only(frozen: Path) -> None:
    files = sorted(path.name for path in (frozen / "program").iterdir())
    assert files == ["labels.jsonl", "program.json"]
    json.loads((frozen / "program" / "program.json").read_text("utf-8"))


def test_the_command_takes_its_labels_from_it(
    irr: Irr, frozen: Path, labels_file: Path, tmp_path: Path
) -> None:
    texts = write_jsonl(tmp_path / "t.jsonl", [{"id": "1", "text": TEXTS[1]}])
    output = tmp_path / "o.jsonl"
    call = ("classify", "--program", frozen / "program", "--input", texts, "--output", output)
    result = irr(*call, "--labels", labels_file)
    assert result.returncode == 0, result.stderr
    assert read_jsonl(output)[0]["labels"][0]["id"] == "buy"

    other = tmp_path / "other.txt"
    other.write_text("bread\n")
    result = irr(*call, "--labels", other)
    assert result.returncode == 2
    assert "is not the label space of" in result.stderr
    result = irr(*call, "--encoder", "x")
    assert result.returncode == 2
    assert "--encoder is fixed" in result.stderr


def test_what_is_no_program_is_named(
    frozen: Path, program: package.InferRetrieveRank, tmp_path: Path
) -> None:
    with pytest.raises(ProgramError, match="holds no frozen program"):
        package.load(tmp_path)
    with pytest.raises(ProgramError, match="is no frozen program"):
        package.freeze(program, tmp_path)

    own = package.build(["a"], encoder=program.encoder, ranker=RetrievalRanker(), index_folder=tmp_path / "i")
    with pytest.raises(ProgramError, match="a ranker of its own"):
        package.freeze(own, tmp_path / "own")

    broken = tmp_path / "broken"
    package.freeze(program, broken)
    package.freeze(program, broken)  # in its own place: replaced
    (broken / "notes.txt").write_text("mine")
    with pytest.raises(ProgramError, match="or holds more"):
        package.freeze(program, broken)
    (broken / "notes.txt").unlink()
    labels = broken / "labels.jsonl"
    labels.write_text(labels.read_text("utf-8").replace("bake bread", "bake cake"), "utf-8")
    with pytest.raises(ProgramError, match="is not what was frozen"):
        package.load(broken)
    manifest = broken / "program.json"
    manifest.write_text(manifest.read_text("utf-8").replace('"format": 1', '"format": 99'), "utf-8")
    with pytest.raises(ProgramError, match="format is not what this version reads"):
        package.load(broken)
