"""Changes of a label space: the next version, its ids, and the gold that is carried over."""

from __future__ import annotations

from pathlib import Path

import pytest

from irr.errors import InputError, UsageError
from irr.io.texts import GoldRow
from irr.labels.changes import Merge, New, Split, apply, carry_gold, read_changes
from irr.labels.space import LabelSpace
from irr.types import Label
from tests.support import Irr, read_jsonl, write_jsonl

SPACE = [
    {"id": "a", "name": "cooking", "prior": 0.2},
    {"id": "b", "name": "cookery", "aliases": ["kitchen work"], "prior": 0.1},
    {"id": "c", "name": "gardens", "parents": ["b"]},
    {"id": "d", "name": "travel"},
]
TRAINS = Label(id="d001", name="trains", examples=("the train to Rome",))
PLANES = Label(id="d002", name="planes")
CHANGES = [
    New(label=Label(id="d003", name="music")),
    Split(id="d", into=(TRAINS, PLANES)),
    Merge(ids=("a", "b")),
]


def test_the_next_version_keeps_ids_and_loses_nothing_that_a_merged_label_said() -> None:
    labels = {label.id: label for label in apply(LabelSpace(SPACE), CHANGES)}
    assert set(labels) == {"a", "c", "d", "d001", "d002", "d003"}
    assert labels["a"].aliases == ("cookery", "kitchen work")
    assert labels["a"].prior == pytest.approx(0.3)
    assert labels["c"].parents == ("a",)
    assert labels["d001"].parents == ("d",)


def test_chains_of_merges_end_in_one_label() -> None:
    merges = [Merge(ids=("b", "c")), Merge(ids=("a", "b")), Merge(ids=("c", "a"))]
    assert [label.id for label in apply(LabelSpace(SPACE), merges)] == ["a", "d"]


def test_gold_follows() -> None:
    rows = [
        GoldRow(id=1, text="stir the soup", labels=("b", "a")),
        GoldRow(id=2, text="the train to Rome", labels=("d",)),
        GoldRow(id=3, text="my passport", labels=("d", "c")),
    ]
    assert [row.labels for row in carry_gold(rows, CHANGES)] == [("a",), ("d001",), ("d", "c")]


@pytest.mark.parametrize(
    "change", [New(label=Label(id="a", name="x")), Merge(ids=("a", "zz")), Split(id="zz", into=(TRAINS,))]
)
def test_changes_of_another_label_space_are_refused(change: New | Merge | Split) -> None:
    with pytest.raises(UsageError):
        apply(LabelSpace(SPACE), [change])


def test_a_row_that_is_no_change_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 1"):
        read_changes(write_jsonl(tmp_path / "changes.jsonl", [{"change": "newer"}]))


def test_the_command_makes_the_next_version_and_carries_gold_over(irr: Irr, tmp_path: Path) -> None:
    labels = write_jsonl(tmp_path / "labels.jsonl", SPACE)
    changes = write_jsonl(tmp_path / "changes.jsonl", [c.model_dump(mode="json") for c in CHANGES])
    gold = write_jsonl(tmp_path / "gold.jsonl", [{"id": 1, "text": "soup", "labels": ["b"]}])
    after, carried = tmp_path / "next.jsonl", tmp_path / "next-gold.jsonl"
    call = irr(
        "labels", labels, "--apply", changes, "--output", after, "--gold", gold, "--gold-output", carried
    )
    assert call.returncode == 0, call.stderr
    assert [row["id"] for row in read_jsonl(after)] == ["a", "c", "d", "d003", "d001", "d002"]
    assert read_jsonl(carried) == [{"id": 1, "text": "soup", "labels": ["a"]}]
    call = irr("labels", labels, "--apply", changes)
    assert (call.returncode, "--output" in call.stderr) == (2, True)
