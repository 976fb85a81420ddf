"""A part of the label space: which labels it holds, and that answers from it are those among all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import ProgramError, UsageError
from irr.frozen.freeze import freeze
from irr.labels.hierarchy import part_of
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank, build
from tests.support import Irr, write_jsonl

TREE = [
    {"id": "food", "name": "food"},
    {"id": "bake", "name": "bake bread", "parents": ["food"]},
    {"id": "rolls", "name": "bake bread rolls", "parents": ["bake"]},
    {"id": "cook", "name": "cook soup", "parents": ["food"]},
    {"id": "loop a", "name": "sell bread", "parents": ["loop b"]},
    {"id": "loop b", "name": "sell", "parents": ["loop a"]},
    {"id": "weld", "name": "weld pipes"},
]
TEXT = "You will bake bread rolls, cook soup and sell bread"


@pytest.fixture(scope="module")
def tree(encoder: SentenceEncoder, index_folder: Path) -> InferRetrieveRank:
    return build(TREE, encoder=encoder, index_folder=index_folder)


def ids(space: LabelSpace, **options: object) -> set[str]:
    return {space[int(number)].id for number in part_of(space, **options)}  # type: ignore[arg-type]


def test_a_part_is_a_branch_or_a_list_or_what_is_left() -> None:
    space = LabelSpace(TREE)
    assert ids(space, within="food") == {"food", "bake", "rolls", "cook"}
    assert ids(space, within=["bake", "loop a"]) == {"bake", "rolls", "loop a", "loop b"}
    assert ids(space, within="food", without=["bake"]) == {"food", "rolls", "cook"}
    assert ids(space, only=["weld", "cook"], within="food") == {"cook"}
    with pytest.raises(UsageError, match='no label has the id "nothing"'):
        part_of(space, "nothing")
    with pytest.raises(UsageError, match="holds no label"):
        part_of(space, "food", only=["weld"])


@pytest.mark.parametrize("exact_entries", [200_000, 0])
def test_labels_of_a_part_have_the_scores_that_they_have_among_all(
    encoder: SentenceEncoder, index_folder: Path, tree: InferRetrieveRank, exact_entries: int
) -> None:
    settings = tree.settings.replace({"retrieve.exact_entries": exact_entries})
    whole = build(TREE, encoder=encoder, settings=settings, index_folder=index_folder)
    among_all = {label.id: label.score for label in whole(TEXT, top_k=len(TREE)).labels}
    for part in ({"bake", "rolls"}, {"cook", "weld"}, {"loop a"}):
        answer = whole.within(only=part)(TEXT).labels
        assert {label.id for label in answer} == part
        assert all(label.score == among_all[label.id] for label in answer)
    assert len(whole.within("food")(TEXT, top_k=3).labels) == 3


def test_parts_of_parts_and_programs_of_parts(tree: InferRetrieveRank, tmp_path: Path) -> None:
    branch = tree.within("food")
    assert {label.id for label in branch.within(without=["food", "cook"])(TEXT).labels} == {"bake", "rolls"}
    assert branch.digest != tree.digest
    with pytest.raises(ProgramError, match="a part of its label space"):
        freeze(branch, tmp_path / "program")


def test_the_command_answers_from_a_part(irr: Irr, tmp_path: Path) -> None:
    labels = write_jsonl(tmp_path / "labels.jsonl", TREE)
    (tmp_path / "never.txt").write_text("cook\n\nfood\n")
    call = ["inspect", "--labels", labels, "--text", TEXT]
    shown = irr(*call, "--within", "food", "--without", tmp_path / "never.txt").stdout
    assert "bake bread rolls" in shown
    assert "cook soup" not in shown.split("rank: labels")[1]
    assert irr(*call, "--within", "nothing").returncode == 2
    assert irr(*call, "--only", tmp_path / "none.txt").returncode == 2


def test_gold_outside_of_a_part_does_not_count(irr: Irr, tmp_path: Path) -> None:
    labels = write_jsonl(tmp_path / "labels.jsonl", TREE)
    gold = write_jsonl(tmp_path / "gold.jsonl", [{"id": "1", "text": TEXT, "labels": ["cook", "weld"]}])
    scores = irr("eval", "--labels", labels, "--gold", gold, "--within", "food", "--json", "-").stdout
    assert json.loads(scores)["rp@10"] == 1
