"""Results that agree with the hierarchy, whatever it looks like: closed, leaves, cycles, unknown parents."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irr import freeze, load
from irr.cli.program_options import ProgramOptions
from irr.config import Hierarchy, Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import UsageError
from irr.labels.hierarchy import ancestors, arrange
from irr.labels.space import LabelSpace
from irr.program.program import build
from irr.types import RankedLabel
from tests.support import write_jsonl

FOOD = LabelSpace(
    [
        {"id": "work", "name": "kitchen work"},
        {"id": "bake", "name": "baking", "parents": ["work"]},
        {"id": "bread", "name": "bread making", "parents": ["bake", "nowhere"]},
        {"id": "cake", "name": "cake making", "parents": ["bake", "party"]},
        {"id": "party", "name": "parties"},
        {"id": "stock", "name": "stock", "parents": ["soup"]},
        {"id": "soup", "name": "soup", "parents": ["stock", "work"]},
    ]
)


def ranked(space: LabelSpace, *ids: str) -> list[RankedLabel]:
    return [
        RankedLabel(id=id_, name=space[space.number_of[id_]].name, score=1 - place / 10)
        for place, id_ in enumerate(ids)
    ]


def ids(labels: tuple[RankedLabel, ...]) -> list[str]:
    return [label.id for label in labels]


def test_ancestors_are_nearest_first_and_cycles_end() -> None:
    assert ancestors(FOOD, "cake") == ("bake", "party", "work")
    assert ancestors(FOOD, "bread") == ("bake", "work")
    assert ancestors(FOOD, "stock") == ("soup", "work")
    assert ancestors(FOOD, "work") == ()


def test_closed_puts_ancestors_behind_their_best_label_with_its_score() -> None:
    ranking = ranked(FOOD, "cake", "stock", "work", "bread")
    closed = arrange(FOOD, Hierarchy.CLOSED, 3, ranking)
    assert [(label.id, label.score) for label in closed] == [
        ("cake", 1.0),
        ("bake", 1.0),
        ("party", 1.0),
        ("work", 1.0),
        ("stock", 0.9),
        ("soup", 0.9),
    ]
    assert closed[1].name == "baking"


def test_leaves_fill_up_to_top_k() -> None:
    ranking = ranked(FOOD, "bake", "work", "cake", "bread", "party", "soup", "stock")
    assert ids(arrange(FOOD, Hierarchy.LEAVES, 2, ranking)) == ["cake", "bread"]
    assert ids(arrange(FOOD, Hierarchy.LEAVES, 1, ranking)) == ["bake"]
    assert ids(arrange(FOOD, Hierarchy.LEAVES, 9, ranking)) == ["cake", "bread", "soup", "stock"], (
        "labels that are above each other are equals"
    )
    assert ids(arrange(FOOD, Hierarchy.NONE, 2, ranking)) == ["bake", "work"]


@st.composite
def cases(draw: st.DrawFn) -> tuple[LabelSpace, list[RankedLabel], int]:
    """Any parents at all, cycles and unknown ones among them, and a ranking of some of the labels."""
    names = [f"l{i}" for i in range(draw(st.integers(1, 9)))]
    parents = st.lists(st.sampled_from([*names, "unknown"]), max_size=3)
    space = LabelSpace([{"id": name, "name": name, "parents": draw(parents)} for name in names])
    order = draw(st.permutations(names))[: draw(st.integers(0, len(names)))]
    return space, ranked(space, *order), draw(st.integers(1, 10))


@given(cases())
def test_closed_is_the_smallest_closed_set_and_best_first(
    case: tuple[LabelSpace, list[RankedLabel], int],
) -> None:
    space, ranking, top_k = case
    closed = arrange(space, Hierarchy.CLOSED, top_k, ranking)
    scores = {label.id: label.score for label in closed}
    assert len(scores) == len(closed)
    assert [label.score for label in closed] == sorted(scores.values(), reverse=True)
    expected = {label.id for label in ranking[:top_k]}
    for label in ranking[:top_k]:
        expected.update(ancestors(space, label.id))
    assert set(scores) == expected
    for label in closed:
        assert all(scores[above] >= label.score for above in ancestors(space, label.id))
    position = {label.id: place for place, label in enumerate(closed)}
    returned = {label.id for label in ranking[:top_k]}
    for added in set(position) - returned:
        below = [position[label] for label in returned if added in ancestors(space, label)]
        assert min(below) < position[added]


@given(cases())
def test_leaves_hold_nothing_above_another_and_lose_nothing_else(
    case: tuple[LabelSpace, list[RankedLabel], int],
) -> None:
    space, ranking, top_k = case

    def properly_above(a: str, b: str) -> bool:
        return a in ancestors(space, b) and b not in ancestors(space, a)

    leaves = ids(arrange(space, Hierarchy.LEAVES, top_k, ranking))
    order = [label.id for label in ranking]
    assert leaves == [label for label in order if label in leaves], "in the order of the ranking"
    assert len(leaves) <= top_k
    assert not any(properly_above(a, b) for a in leaves for b in leaves)
    looked_at = order[: order.index(leaves[-1]) + 1] if len(leaves) == top_k else order
    for label in set(looked_at) - set(leaves):
        assert any(properly_above(label, leaf) for leaf in leaves)


@given(cases())
def test_without_parents_the_hierarchy_changes_nothing(
    case: tuple[LabelSpace, list[RankedLabel], int],
) -> None:
    space, ranking, top_k = case
    flat = LabelSpace([label.model_copy(update={"parents": ()}) for label in space])
    for hierarchy in Hierarchy:
        assert arrange(flat, hierarchy, top_k, ranking) == tuple(ranking[:top_k])


def test_a_program_keeps_its_hierarchy(encoder: SentenceEncoder, index_folder: Path, tmp_path: Path) -> None:
    settings = Settings(hierarchy=Hierarchy.CLOSED)
    program = build(FOOD, encoder=encoder, settings=settings, index_folder=index_folder)
    prediction = program("We look for someone for cake making", top_k=1, trace=True)
    assert ids(prediction.labels) == ["cake", "bake", "party", "work"]
    assert prediction.trace is not None
    assert len(prediction.trace.ranking) == len(FOOD), "the trace keeps what ranking said"
    freeze(program, tmp_path / "program")
    again = load(tmp_path / "program", index_folder=index_folder)
    assert again("We look for someone for cake making", top_k=1).labels == prediction.labels
    options = ProgramOptions(program=tmp_path / "program", hierarchy="leaves")
    with pytest.raises(UsageError, match="--hierarchy is fixed in a frozen program"):
        options.read_space()
    options = ProgramOptions(program=tmp_path / "program", language="fi")
    with pytest.raises(UsageError, match="--language is given, but no --labels"):
        options.read_space()
    labels = write_jsonl(tmp_path / "l.jsonl", [label.model_dump() for label in FOOD])
    options = ProgramOptions(labels=labels, hierarchy="leaves")
    assert options.build(options.read_space()).settings.hierarchy is Hierarchy.LEAVES
