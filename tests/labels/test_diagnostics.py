"""The survey of a label space: what it counts, and what it warns of."""

from __future__ import annotations

import json
import random
from pathlib import Path

from irr.encoders.sentence_transformers import open_window
from irr.labels.diagnostics import survey, survey_hierarchy
from irr.labels.space import LabelSpace
from tests.support import KITCHEN, Irr, write_jsonl


def test_what_is_in_a_label_space() -> None:
    found = survey(LabelSpace(KITCHEN))
    assert (found.labels, found.with_aliases, found.aliases, found.with_prior) == (8, 3, 4, 1)
    assert found.with_description == 2
    assert found.without_description.count == 6
    assert found.without_description.examples[0] == "wash"
    assert (found.unit, found.window, found.names.cut) == ("words", None, None)
    assert found.names.longest[0] == (4, "cook meals, for groups")
    assert found.codes.count == 0, "C++ is a name"
    assert found.warnings == ()


def test_names_that_several_labels_have() -> None:
    space = LabelSpace(
        [
            {"id": "1", "name": "Cold"},
            {"id": "2", "name": "cold ", "description": "An infection."},
            {"id": "3", "name": "COLD", "parents": ["4"]},
            {"id": "4", "name": "weather", "aliases": ["cold", "storm", "Weather"]},
            {"id": "5", "name": "gale", "aliases": ["storm", "storm"]},
        ]
    )
    found = survey(space)
    assert (found.shared_names.texts, found.shared_names.labels) == (1, 3)
    assert found.shared_names.examples[0].ids == ("1", "2", "3")
    assert (found.indistinct.count, found.indistinct.examples) == (1, ("1",))
    assert found.shared_aliases.texts == 2, "cold is a name elsewhere, storm another's alias"
    assert [example.text for example in found.shared_aliases.examples] == ["cold", "storm"]
    assert any("1 label shares a name, without" in warning for warning in found.warnings)


def test_codes_and_texts_longer_than_the_window_are_warned_of() -> None:
    names = ["A01.1", "T1059.003", "12-34", "esco-00012", "MP3", "C#", "包饺子 3", "trinitrotoluene 2,4,6"]
    space = LabelSpace(
        [{"id": str(i), "name": name} for i, name in enumerate(names)]
        + [{"id": "long", "name": "word " * 300, "description": "word " * 400}]
    )
    window = open_window()
    assert window is not None
    assert window.limit == 256
    found = survey(space, window)
    assert found.codes.examples == ("A01.1", "T1059.003", "12-34", "esco-00012")
    assert found.unit == "tokens"
    assert found.names.longest[0][0] == 302, "300 words and the two marks of its ends"
    assert (found.names.cut, found.descriptions.cut) == (1, 1)
    text = "\n".join(found.warnings)
    for said in ("4 names look like codes", "1 name is longer", "1 description is longer"):
        assert said in text


def test_depths_roots_and_parents_that_are_not_there() -> None:
    tree = survey_hierarchy(
        LabelSpace(
            [
                {"id": "a", "name": "a"},
                {"id": "b", "name": "b", "parents": ["a", "gone"]},
                {"id": "c", "name": "c", "parents": ["b", "a", "a"]},
                {"id": "d", "name": "d", "parents": ["b"]},
                {"id": "e", "name": "e", "parents": ["gone"]},
                {"id": "f", "name": "f", "parents": ["g"]},
                {"id": "g", "name": "g", "parents": ["h", "a"]},
                {"id": "h", "name": "h", "parents": ["f"]},
                {"id": "i", "name": "i", "parents": ["i"]},
                {"id": "j", "name": "j", "parents": ["i"]},
            ]
        )
    )
    assert (tree.roots, tree.alone, tree.leaves, tree.with_parents, tree.several_parents) == (1, 1, 3, 8, 2)
    assert tree.depths == {0: 2, 1: 3, 2: 2, 3: 1}
    assert tree.unreachable == 2, "i and what is under it"
    assert tree.unknown_parents.examples == (("b", "gone"), ("e", "gone"))
    assert tree.in_cycles.count == 4
    assert tree.in_cycles.examples == (("f", "g", "h"), ("i",))


def test_a_deep_hierarchy_and_a_large_cycle_are_surveyed_in_a_moment() -> None:
    n = 20_000
    chain = [{"id": str(i), "name": "x", "parents": [str((i + 1) % n)]} for i in range(n)]
    random.Random(0).shuffle(chain)
    assert survey_hierarchy(LabelSpace(chain)).in_cycles.count == n
    tree = survey_hierarchy(LabelSpace([label for label in chain if label["id"] != "0"]))
    assert (tree.in_cycles.count, max(tree.depths)) == (0, n - 2)


def test_the_command_shows_and_writes_it(irr: Irr, tmp_path: Path) -> None:
    labels = write_jsonl(tmp_path / "labels.jsonl", [*KITCHEN, {"id": "x", "name": "[bold]C++[/bold]"}])
    result = irr("labels", labels)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    for shown in ("what is in it", "steps from a root", "the encoder reads 256", "[bold]C++[/bold]"):
        assert shown in result.stdout
    found = json.loads(irr("labels", labels, "--json", "-").stdout)
    assert (found["labels"], found["unit"], found["read"]) == (9, "tokens", None)
    for wrong, says in (
        ((labels, "--output", labels), "is both read and written"),
        ((labels, "--output", "-", "--json", "-"), "both write stdout"),
        ((labels, "--language", "en"), "is not SKOS"),
        ((tmp_path / "gone.ttl",), "gone.ttl: no such file"),
    ):
        bad = irr("labels", *wrong)
        assert (bad.returncode, bad.stdout) == (2, "")
        assert says in bad.stderr
        assert len(bad.stderr.splitlines()) == 1
