"""A frozen program reloads to the same answers, and says what is wrong with a folder that it cannot be."""

from __future__ import annotations

import json
import random
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

import irr as package
from irr.config import Settings
from irr.errors import ProgramError
from irr.frozen.folder import read_manifest
from irr.rank.ranker import RetrievalRanker
from tests.support import KITCHEN, Irr, read_jsonl, write_jsonl

TEXTS = ["Bake bread and plan the menus", "purchasing of ingredients", "C++, 包饺子"]


@pytest.fixture(scope="module")
def frozen(
    encoder: package.SentenceEncoder, kitchen: package.LabelSpace, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("frozen")
    settings = Settings().replace(
        {"retrieve.text_weight": 0.5, "retrieve.alias_margin": 0.2, "retrieve.candidates": 5}
    )
    program = package.build(
        kitchen,
        encoder=encoder,
        settings=settings,
        examples=[
            {"text": "Bread for all", "labels": ["bake"]},
            {"text": "What we eat next week", "labels": ["plan"]},
        ],
        index_folder=folder / "indexes",
    )
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
    assert program.settings.retrieve.alias_margin == 0.2


def test_it_is_readable_json_and_checksums_that_coreutils_know(frozen: Path) -> None:
    files = sorted(path.name for path in (frozen / "program").iterdir())
    assert files == ["SHA256SUMS", "examples.jsonl", "labels.jsonl", "program.json"]
    manifest = json.loads((frozen / "program" / "program.json").read_text("utf-8"))
    assert manifest["spec"]["encoder"]["name"] == "all-MiniLM-L6-v2"
    assert manifest["spec"]["encoder"]["revision"].startswith("sha256:")
    assert manifest["versions"]["irr"] == package.__version__
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=frozen / "program", check=True)


@pytest.mark.parametrize("name", ["program.json", "labels.jsonl", "examples.jsonl", "SHA256SUMS"])
def test_one_flipped_byte_is_noticed_wherever_it_is(frozen: Path, tmp_path: Path, name: str) -> None:
    whole = (frozen / "program" / name).read_bytes()
    folder = tmp_path / "program"
    shutil.copytree(frozen / "program", folder)
    for place in random.Random(name).sample(range(len(whole)), min(60, len(whole))):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << random.Random(place).randrange(8)
        (folder / name).write_bytes(flipped)
        with pytest.raises(ProgramError):
            read_manifest(folder)
    (folder / name).write_bytes(whole)
    assert read_manifest(folder).labels == 8
    (folder / name).unlink()
    with pytest.raises(ProgramError, match=r"was changed after freezing|holds no frozen program"):
        read_manifest(folder)


def test_another_label_space_is_refused_unless_the_user_asks_for_it(
    irr: Irr, frozen: Path, tmp_path: Path
) -> None:
    grown = package.LabelSpace([*KITCHEN, {"id": "night", "name": "work nights"}])
    with pytest.raises(ProgramError, match="are not the label space of"):
        package.load(frozen / "program", labels=grown)
    fewer = [row for row in KITCHEN if row["id"] != "plan"]
    program = package.load(
        frozen / "program", labels=package.LabelSpace(fewer), rebind=True, index_folder=tmp_path
    )
    assert program.settings.retrieve.alias_margin == 0.2
    assert [example.labels for example in program.examples] == [("bake",)]

    labels = write_jsonl(tmp_path / "grown.jsonl", [row.model_dump() for row in grown])
    call = ("inspect", "--program", frozen / "program", "--labels", labels, "--text", "work at night")
    refused = irr(*call)
    assert refused.returncode == 2
    assert "add --rebind" in refused.stderr
    result = irr(*call, "--rebind")
    assert result.returncode == 0, result.stderr
    assert "other labels than it was frozen with" in result.stderr
    assert "work nights" in result.stdout


def test_models_are_kept_by_name_prompts_in_full_and_addresses_and_keys_not_at_all(
    encoder: package.SentenceEncoder,
    kitchen: package.LabelSpace,
    index_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-value")
    model = package.open_model("openai/small", "http://models.internal:9/v1")
    program = package.build(
        kitchen, encoder=encoder, infer_lm=model, rank_lm=model, task="esco", index_folder=index_folder
    )
    package.freeze(program, tmp_path / "program")
    written = b"".join(path.read_bytes() for path in (tmp_path / "program").iterdir())
    for secret in (b"sk-very", b"models.internal"):
        assert secret not in written
    with pytest.raises(ProgramError, match=r'asks the model "small" of a server.*api_base'):
        package.load(tmp_path / "program")
    again = package.load(tmp_path / "program", api_base="http://elsewhere:9/v1", index_folder=index_folder)
    assert again.digest == program.digest
    assert again.models.infer_lm is again.models.rank_lm
    assert again.spec.task == program.spec.task
    without = package.load(tmp_path / "program", infer_lm="none", rank_lm="none", index_folder=index_folder)
    assert not without("Bake bread").fallbacks
    with pytest.raises(ProgramError, match="has prompts of its own"):
        package.load(tmp_path / "program", task="biodex")


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
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ProgramError, match="is not a frozen program"):
        package.freeze(program, tmp_path)

    own = package.build(["a"], encoder=program.encoder, ranker=RetrievalRanker(), index_folder=tmp_path / "i")
    with pytest.raises(ProgramError, match="a ranker of its own"):
        package.freeze(own, tmp_path / "own")

    broken = tmp_path / "broken"
    package.freeze(program, broken)
    package.freeze(program, broken)  # in its own place: replaced
    for dropped in (".DS_Store", "._labels.jsonl", "Thumbs.db", "desktop.ini"):
        (broken / dropped).write_bytes(b"\0")
    assert read_manifest(broken).digest == program.digest
    (broken / "notes.txt").write_text("mine")
    with pytest.raises(ProgramError, match=r"notes.txt does not belong"):
        package.freeze(program, broken)
    (broken / "notes.txt").unlink()
    (broken / "sub").mkdir()
    with pytest.raises(ProgramError, match=r"broken/sub does not belong to a frozen program"):
        package.load(broken)
    (broken / "sub").rmdir()
    manifest = broken / "program.json"
    manifest.write_text(re.sub(r'"format": \d+', '"format": 99', manifest.read_text("utf-8")), "utf-8")
    with pytest.raises(ProgramError, match="by a newer irr"):
        package.load(broken)


def write_sums(folder: Path) -> None:
    files = ["examples.jsonl", "labels.jsonl", "program.json"]
    (folder / "SHA256SUMS").write_bytes(subprocess.check_output(["sha256sum", *files], cwd=folder))


def test_a_model_of_the_same_name_but_other_weights_is_refused(frozen: Path, tmp_path: Path) -> None:
    folder = tmp_path / "program"
    shutil.copytree(frozen / "program", folder)
    manifest = json.loads((folder / "program.json").read_text("utf-8"))
    manifest["spec"]["encoder"]["revision"] = "sha256:other"
    (folder / "program.json").write_text(json.dumps(manifest), "utf-8")
    write_sums(folder)
    with pytest.raises(ProgramError, match=r"is not the one that the program was frozen with.*sha256:other"):
        package.load(folder, index_folder=tmp_path)


def test_a_program_that_names_a_model_of_the_hub_fetches_nothing(
    frozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "program"
    shutil.copytree(frozen / "program", folder)
    manifest = json.loads((folder / "program.json").read_text("utf-8"))
    manifest["spec"]["encoder"]["name"] = "someone/else"
    (folder / "program.json").write_text(json.dumps(manifest), "utf-8")
    write_sums(folder)
    asked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: asked.append(address))
    with pytest.raises(ProgramError, match="which is not on this machine: fetch it with") as e:
        package.load(folder)
    assert 'irr.SentenceEncoder("someone/else")' in e.value.hint
    assert asked == []


def test_what_another_version_wrote_is_refused_where_it_means_something_else(
    frozen: Path, tmp_path: Path
) -> None:
    """Every byte is right; but a setting is unknown, or missing, or answers would be others."""
    folder = tmp_path / "program"
    shutil.copytree(frozen / "program", folder)
    path = folder / "program.json"
    whole = json.loads(path.read_text("utf-8"))
    settings = dict(whole["spec"]["settings"])
    del settings["retrieve"]
    for change, said in (
        ({"spec": {**whole["spec"], "pool": 3}}, 'unknown key "spec.pool"'),
        ({"labels": "many"}, '"labels": input should be a valid integer'),
        (
            {"spec": {**whole["spec"], "settings": settings}},
            "gives other answers than it",
        ),
    ):
        path.write_text(json.dumps(whole | change), "utf-8")
        write_sums(folder)
        with pytest.raises(ProgramError, match=said):
            package.load(folder, index_folder=frozen / "indexes")
