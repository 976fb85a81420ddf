"""A label space drafted from texts: what is in it, and what texts get from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import UsageError
from irr.labels.space import LabelSpace
from irr.program.program import build
from irr.types import Label
from irr.workbench.draft import SETTINGS, DraftPlan, LabelDraft, draft
from irr.workbench.draft.clusters import cluster, grouped
from tests.doubles.hash_encoder import HashEncoder
from tests.support import Irr, read_jsonl, write_jsonl

THINGS = ("bread", "a bicycle", "the guitar", "my passport", "tomato plants", "a mortgage")
WAYS = (
    "how do i look after {}",
    "questions about {}",
    "where can i get help with {}",
    "i would like to know more about {}",
    "what does one pay for {}",
)
TEXTS = [way.format(thing) for thing in THINGS for way in WAYS]
GOLD = [thing for thing in THINGS for _ in WAYS]


@pytest.fixture(scope="module")
def drafted(encoder: SentenceEncoder) -> LabelDraft:
    return draft(TEXTS, encoder, DraftPlan(len(THINGS)))


def test_texts_of_one_thing_become_one_label_that_is_named_after_it(drafted: LabelDraft) -> None:
    assert len(drafted.labels) == len(THINGS)
    for thing in THINGS:
        (number,) = {int(drafted.label_of[i]) for i, of in enumerate(GOLD) if of == thing}
        assert thing.split()[-1] in drafted.labels[number].name


def test_a_label_has_all_that_a_label_can_have(drafted: LabelDraft) -> None:
    for label in drafted.labels:
        assert label.description
        assert set(label.examples) <= set(TEXTS)
    assert sum(label.prior or 0 for label in drafted.labels) == pytest.approx(1, abs=1e-4)
    LabelSpace(drafted.labels)


@pytest.mark.parametrize("frozen", [True, False])
def test_classify_gives_new_texts_the_label_of_their_thing(
    drafted: LabelDraft, encoder: SentenceEncoder, tmp_path: Path, frozen: bool
) -> None:
    settings = SETTINGS if frozen else None
    program = build(drafted.labels, encoder=encoder, settings=settings, index_folder=tmp_path)
    for thing in THINGS:
        (best,) = program(f"tell me something on {thing}", top_k=1).labels
        assert thing.split()[-1] in best.name


def test_the_same_call_gives_the_same_labels(drafted: LabelDraft, encoder: SentenceEncoder) -> None:
    again = draft(TEXTS, encoder, DraftPlan(len(THINGS)))
    assert again.labels == drafted.labels


def test_broader_labels_stand_above(encoder: SentenceEncoder) -> None:
    labels = draft(TEXTS, encoder, DraftPlan(6, levels=2)).labels
    broader = {label.id for label in labels[6:]}
    assert broader
    assert all(len(label.parents) == 1 and label.parents[0] in broader for label in labels[:6])
    assert len({label.name for label in labels}) == len(labels)


def test_seed_labels_are_kept_and_what_is_missing_is_added(encoder: SentenceEncoder) -> None:
    seeds = (Label(id="bike", name="bicycles", aliases=("bicycle",)), Label(id="moon", name="lunar geology"))
    labels = draft(TEXTS, encoder, DraftPlan(7, seed_labels=seeds)).labels
    assert [label.id for label in labels[:2]] == ["bike", "moon"]
    assert labels[0].name == "bicycles"
    assert all("bicycle" in text for text in labels[0].examples)
    assert labels[1].examples == ()
    assert not any("bicycle" in label.name for label in labels[2:])
    assert len(labels) <= 7


def test_more_labels_than_texts_are_refused() -> None:
    encoder = HashEncoder()
    with pytest.raises(UsageError, match="ask for fewer"):
        draft(TEXTS, encoder, DraftPlan(1_000))


def test_many_texts_are_gathered_first_and_give_the_same_clusters_for_one_seed() -> None:
    chance = np.random.default_rng(0)
    centers = chance.standard_normal((12, 20))
    truth = chance.integers(12, size=6_000)
    points = centers[truth] + 0.3 * chance.standard_normal((6_000, 20))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    found = cluster(points, 12, 50, seed=1)
    assert all(len(set(found.cluster_of[truth == one].tolist())) == 1 for one in range(12))
    assert (cluster(points, 12, 50, seed=1).cluster_of == found.cluster_of).all()


def test_broader_groups_hold_what_is_near() -> None:
    centers = np.array([[1, 0], [0, 1], [0.99, 0.1], [0.1, 0.99]], np.float32)
    assert grouped(centers, 2).tolist() == [0, 1, 0, 1]


def test_the_command_writes_labels_that_classify_takes(irr: Irr, tmp_path: Path) -> None:
    rows = [{"id": i, "text": text} for i, text in enumerate(TEXTS)]
    texts = write_jsonl(tmp_path / "texts.jsonl", rows)
    labels, program, out = tmp_path / "labels.jsonl", tmp_path / "program", tmp_path / "out.jsonl"
    call = irr("draft", "--input", texts, "--output", labels, "--size", 6, "--freeze", program)
    assert call.returncode == 0, call.stderr
    assert "irr classify --program" in call.stderr
    assert len(read_jsonl(labels)) == 6
    call = irr("classify", "--program", program, "--input", texts, "--output", out, "--top-k", 1)
    assert call.returncode == 0, call.stderr
    found = [row["labels"][0]["id"] for row in read_jsonl(out)]
    assert len(set(zip(GOLD, found, strict=True))) == len(THINGS)


def test_what_cannot_be_drafted_is_said_at_once(irr: Irr, tmp_path: Path) -> None:
    texts = write_jsonl(tmp_path / "t.jsonl", [{"id": i, "text": text} for i, text in enumerate(TEXTS)])
    seeds = write_jsonl(tmp_path / "s.jsonl", [{"id": str(i), "name": str(i)} for i in range(6)])
    empty, out = write_jsonl(tmp_path / "empty.jsonl", []), tmp_path / "out.jsonl"
    call = ("draft", "--input", texts, "--size", 6, "--lm", "embedded", "--output")
    for more, said in (
        (("-",), "name a file for --output"),
        ((out, "--seed-labels", seeds), "leave nothing to add"),
        ((out, "--labels", seeds), "No such option: --labels"),
        ((out, "--lm", "none", "--budget", 3), "--budget has no effect"),
        ((out, "--input", empty), f"{empty}: no text holds anything to read"),
    ):
        result = irr(*call, *more)
        assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
        assert said in result.stderr


def test_rows_that_cannot_be_read_are_counted(irr: Irr, tmp_path: Path) -> None:
    texts = write_jsonl(
        tmp_path / "t.jsonl", [{"id": i, "text": text} for i, text in enumerate([*TEXTS, " "])]
    )
    with texts.open("a") as file:
        file.write(json.dumps({"id": "x"}) + "\n")
    call = irr("draft", "--input", texts, "--output", "-", "--size", 6)
    assert call.returncode == 1
    assert "2 rows that could not be read" in call.stderr
    assert len([json.loads(line) for line in call.stdout.splitlines()]) == 6


def test_examples_of_labels_speak_for_them(encoder: SentenceEncoder, tmp_path: Path) -> None:
    labels = [
        Label(id="a", name="first kind", examples=("the boiler leaks water",)),
        Label(id="b", name="second kind", examples=("my invoice is wrong",)),
    ]
    program = build(labels, encoder=encoder, index_folder=tmp_path)
    assert program("there is water under the boiler").labels[0].id == "a"
    assert program("the invoice has an error").labels[0].id == "b"
    assert [example.labels for example in program.examples] == [("a",), ("b",)]
