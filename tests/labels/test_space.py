"""The label space: formats, what makes a file unusable, and the fingerprint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from irr.errors import LabelSpaceError
from irr.labels.space import LabelSpace
from tests.support import KITCHEN, write_jsonl


def test_jsonl_keeps_names_as_they_are(tmp_path: Path) -> None:
    space = LabelSpace.read(write_jsonl(tmp_path / "labels.jsonl", KITCHEN))
    assert [label.name for label in space] == [label["name"] for label in KITCHEN]
    assert space[0].aliases == ("make loaves",)
    assert space[6].prior == 0.5
    assert "cpp" in space
    assert "c++" not in space


def test_csv_splits_aliases_and_keeps_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "\ufeffid,name,description,aliases,parents,prior,owner\r\n"
        'a,"cook, ""well""","first\nsecond",fry | boil,b,0.25,me\r\n'
        "b,Straße 漢字,,,,,\r\n",
        "utf-8",
    )
    first, second = LabelSpace.read(path)
    assert first.name == 'cook, "well"'
    assert first.description == "first\nsecond"
    assert first.aliases == ("fry", "boil")
    assert first.parents == ("b",)
    assert first.prior == 0.25
    assert (second.name, second.description, second.aliases, second.prior) == ("Straße 漢字", None, (), None)


def test_txt_takes_the_name_as_id_and_breaks_lines_at_line_feeds_only(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("one, two\r\nthree\u2028four\n\n  five  ".encode())
    assert [(label.id, label.name) for label in LabelSpace.read(path)] == [
        ("one, two", "one, two"),
        ("three\u2028four", "three\u2028four"),
        ("five", "five"),
    ]


def test_two_labels_may_share_a_name() -> None:
    assert len(LabelSpace([{"id": "1", "name": "cold"}, {"id": "2", "name": "cold"}])) == 2


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", b'{"id": "1", "name": "x"}\n{"id": "2"\n', "a.jsonl, row 2: not JSON"),
        ("a.jsonl", b"[1, 2]\n", "row 1: not a JSON object"),
        ("a.jsonl", b'{"name": "x"}\n', 'row 1: no "id"'),
        ("a.jsonl", b'\n{"id": "1"}\n', 'row 2: no "name"'),
        ("a.jsonl", b'{"id": 1.5, "name": "x"}\n', 'row 1: "id" is not a string'),
        ("a.jsonl", b'{"id": "1", "name": ""}\n', 'row 1: empty "name"'),
        ("a.jsonl", b'{"id": "1", "name": "  "}\n', 'row 1: empty "name"'),
        ("a.jsonl", b'{"id": "1", "name": "x", "prior": 3}\n', 'row 1: "prior"'),
        ("a.jsonl", b'{"id": "1", "name": "x", "aliases": "y"}\n', 'row 1: "aliases"'),
        (
            "a.jsonl",
            b'{"id": "1", "name": "x"}\n{"id": "1", "name": "y"}',
            'row 2: id "1" is already in row 1',
        ),
        ("a.jsonl", b'{"id": "1", "name": "caf\xe9"}\n', "row 1: not UTF-8"),
        ("a.jsonl", b'{"id": "1", "name": "\\ud800"}\n', "row 1: not"),
        ("a.jsonl", b"\n \n", "a.jsonl: no labels"),
        ("a.txt", b"", "a.txt: no labels"),
        ("a.txt", b"x\ny\nx\n", 'row 3: id "x" is already in row 1'),
        ("a.csv", b"", "a.csv: no labels"),
        ("a.csv", b"id,title\n1,x\n", 'row 1: no column "name"'),
        ("a.csv", b"id,name\n1,x\n2,\n", 'row 3: empty "name"'),
        ("a.csv", b"id,name,prior\n1,x,often\n", 'row 2: "prior"'),
        ("a.csv", b'id,name\n1,"x\n2,y\n', "not CSV"),
        ("a.csv", b"id,name\n1,x,y\n", "row 2: 3 cells in 2 columns"),
        ("a.csv", b"id,name,id\n1,x,2\n", 'more than one column "id"'),
        ("a.yaml", b"<a/>", "unknown format .yaml"),
        ("a", b"x", "unknown format without an ending"),
    ],
)
def test_an_unusable_file_is_named_with_its_row(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LabelSpaceError) as e:
        LabelSpace.read(path)
    assert says in str(e.value)
    assert e.value.hint
    assert "\n" not in str(e.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(LabelSpaceError, match=r"gone\.jsonl: no such file"):
        LabelSpace.read(tmp_path / "gone.jsonl")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(LabelSpaceError, match="cannot be read"):
        LabelSpace.read(tmp_path / "folder.txt")


@pytest.mark.parametrize(
    "edit",
    [
        {"name": "bake breads"},
        {"description": "Mix."},
        {"aliases": ["make loaves", "loaf"]},
        {"id": "bake2"},
        {"prior": 0.1},
        {"parents": ["cook"]},
    ],
)
def test_any_edit_changes_the_fingerprint(edit: dict[str, object]) -> None:
    edited = [{**KITCHEN[0], **edit}, *KITCHEN[1:]]
    assert LabelSpace(edited).fingerprint != LabelSpace(KITCHEN).fingerprint


def test_the_fingerprint_is_of_the_content_not_of_the_file(tmp_path: Path) -> None:
    jsonl = write_jsonl(tmp_path / "a.jsonl", [{"id": "é", "name": "é", "colour": "red"}])
    txt = tmp_path / "a.txt"
    txt.write_text("é\n", "utf-8")
    escaped = tmp_path / "b.jsonl"
    escaped.write_text(json.dumps({"name": "é", "id": "é"}) + "\n", "utf-8")
    prints = {LabelSpace.read(path).fingerprint for path in (jsonl, txt, escaped)}
    assert len(prints) == 1
