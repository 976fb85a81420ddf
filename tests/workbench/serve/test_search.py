"""Labels are found as one types, by words and by meaning, with their place in the hierarchy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import irr
from irr.program.program import InferRetrieveRank
from irr.workbench.serve.label_search import LabelSearch
from tests.doubles.hash_encoder import HashEncoder

LABELS: list[dict[str, Any]] = [
    {"id": "bake", "name": "bake bread", "aliases": ["make loaves"], "parents": ["food"]},
    {"id": "bakery", "name": "bakery equipment", "parents": ["food", "things"]},
    {"id": "bread", "name": "sell bread rolls"},
    {"id": "food", "name": "prepare food", "description": "All that cooks do.", "parents": ["all"]},
    {"id": "things", "name": "équipement Großküche", "parents": ["all", "unknown"]},
    {"id": "all", "name": "everything"},
    {"id": "one", "name": "chicken", "parents": ["other"]},
    {"id": "other", "name": "egg", "parents": ["one"]},
]


@pytest.fixture(scope="module")
def hashed(tmp_path_factory: pytest.TempPathFactory) -> InferRetrieveRank:
    return irr.build(LABELS, encoder=HashEncoder(), index_folder=tmp_path_factory.mktemp("index"))


def ids(search: LabelSearch, query: str, limit: int = 20) -> list[str]:
    return [label.id for label in search(query, limit)]


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("bake", "bake"),
        ("bakery", "bakery"),
        ("BAKE BR", "bake"),
        ("make loa", "bake"),
        ("bread", "bread"),
        ("equi", "bakery"),
        ("équipement grossk", "things"),
        ("egg", "other"),
    ],
)
def test_what_is_typed_is_found(hashed: InferRetrieveRank, typed: str, first: str) -> None:
    search = LabelSearch(hashed)
    found = ids(search, typed)
    if typed == "bread":  # two names hold it; the shorter one says less besides
        assert set(found[:2]) == {"bake", "bread"}
    else:
        assert found[0] == first


def test_every_letter_narrows_what_is_found_first(hashed: InferRetrieveRank) -> None:
    search = LabelSearch(hashed)
    assert set(ids(search, "b")) == {"bake", "bakery", "bread"}
    assert set(ids(search, "bak")[:2]) == {"bake", "bakery"}
    assert ids(search, "baker")[0] == "bakery"
    assert ids(search, "\x00 ?!") == []
    assert len(ids(search, "b", limit=2)) == 2


def test_labels_are_found_by_meaning(program: InferRetrieveRank) -> None:
    search = LabelSearch(program)
    assert ids(search, "scrubbing pots and plates")[0] == "wash"
    assert ids(search, "object-oriented programming language")[0] == "cpp"
    assert ids(search, "pastry and dough")[0] == "bake"


def test_the_place_in_the_hierarchy_is_told_whatever_it_looks_like(hashed: InferRetrieveRank) -> None:
    search = LabelSearch(hashed)
    found = {label.id: label for label in search("b", 20)}
    bakery = found["bakery"]
    assert [place.name for place in bakery.parents] == ["prepare food", "équipement Großküche"]
    assert [place.id for place in bakery.path] == ["all", "food"]
    assert (found["bake"].aliases, found["bread"].path) == (("make loaves",), [])
    (egg,) = search("egg", 1)
    assert [place.id for place in egg.path] == ["one"]
    (food,) = search("prepare food", 1)
    assert (food.narrower, food.description) == (2, "All that cooks do.")


def test_a_part_of_the_label_space_hides_the_rest(hashed: InferRetrieveRank) -> None:
    search = LabelSearch(hashed.within("food"))
    assert set(ids(search, "bread everything egg")) <= {"food", "bake", "bakery"}


def test_proposed_labels_are_found_as_by_a_scan(tmp_path: Path) -> None:
    labels = [f"label {word} {number}" for number in range(40) for word in ("bread", "dishes", "menus")]
    scan = irr.build(labels, encoder=HashEncoder(), index_folder=tmp_path)
    proposed = irr.build(
        labels,
        encoder=HashEncoder(),
        index_folder=tmp_path,
        settings=irr.Settings().replace({"retrieve.exact_entries": 0}),
    )
    by_scan, by_proposal = (one.nearest_labels("bread 7", 5) for one in (scan, proposed))
    assert by_scan[0][0] == by_proposal[0][0]
    assert [cosine for _, cosine in by_scan] == pytest.approx([c for _, c in by_proposal], abs=1e-5)
