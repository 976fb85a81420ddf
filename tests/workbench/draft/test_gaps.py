"""Gaps of a label space: what no label stands for is proposed, and what is there is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.labels.changes import Change, Merge, New, apply
from irr.labels.space import LabelSpace
from irr.program.program import build
from irr.types import Example, Label
from irr.workbench.draft.corpus import Corpus
from irr.workbench.draft.gaps import GapOptions, find_gaps, look
from tests.support import Irr, read_jsonl, write_jsonl
from tests.workbench.draft.test_draft import GOLD, TEXTS, THINGS

EXAMPLE_WAYS = (
    "advice on",
    "tell me about",
    "my neighbour has trouble with",
    "a friend of mine wrote a book on",
    "i have read that one can save money with",
    "my children learn at school about",
    "is there a shop in town for",
    "which is the best sort of",
)
KNOWN = [Label(id=thing, name=thing.split()[-1]) for thing in THINGS if thing not in ("the guitar", "bread")]


@pytest.fixture(scope="module")
def changes(encoder: SentenceEncoder, tmp_path_factory: pytest.TempPathFactory) -> list[Change]:
    program = build(KNOWN, encoder=encoder, index_folder=tmp_path_factory.mktemp("index"))
    options = GapOptions()
    seen = look(program, Corpus.read(TEXTS, encoder), options)
    return find_gaps(program, seen, options)


def test_what_is_missing_is_proposed_with_its_evidence(changes: list[Change]) -> None:
    proposed = [change for change in changes if isinstance(change, New)]
    assert {change.label.name.split()[-1] for change in proposed} >= {"guitar", "bread"}
    for change in proposed:
        assert change.evidence["texts"] >= 3
        assert change.label.examples
        assert {GOLD[TEXTS.index(text)] for text in change.label.examples}.isdisjoint(
            {"a bicycle", "a mortgage"}
        )


def test_the_next_version_has_no_such_gap(
    changes: list[Change], encoder: SentenceEncoder, tmp_path: Path
) -> None:
    after = apply(LabelSpace(KNOWN), [change for change in changes if isinstance(change, New)])
    program = build(after, encoder=encoder, index_folder=tmp_path)
    assert "guitar" in program("where can i get help with the guitar").labels[0].name


def test_labels_that_cannot_be_told_apart_are_to_be_merged(encoder: SentenceEncoder, tmp_path: Path) -> None:
    labels = [*KNOWN, Label(id="bike", name="bicycles"), Label(id="loan", name="home loan mortgage")]
    program = build(labels, encoder=encoder, index_folder=tmp_path)
    options = GapOptions(margin=1.0)
    found = find_gaps(program, look(program, Corpus.read(TEXTS, encoder), options), options)
    assert {frozenset(c.ids) for c in found if isinstance(c, Merge)} <= {
        frozenset(("a bicycle", "bike")),
        frozenset(("a mortgage", "loan")),
    }


def test_the_command_writes_changes_that_labels_applies(irr: Irr, tmp_path: Path) -> None:
    texts = write_jsonl(tmp_path / "t.jsonl", [{"id": i, "text": text} for i, text in enumerate(TEXTS)])
    labels = write_jsonl(tmp_path / "l.jsonl", [label.model_dump(mode="json") for label in KNOWN])
    changes, after = tmp_path / "changes.jsonl", tmp_path / "next.jsonl"
    call = irr("draft", "--labels", labels, "--input", texts, "--output", changes)
    assert call.returncode == 0, call.stderr
    assert {row["change"] for row in read_jsonl(changes)} <= {"new", "split", "merge"}
    call = irr("labels", labels, "--apply", changes, "--output", after)
    assert call.returncode == 0, call.stderr
    assert {label.id for label in KNOWN} <= {row["id"] for row in read_jsonl(after)}
    call = irr("draft", "--labels", labels, "--input", texts, "--output", changes, "--size", 3)
    assert (call.returncode, "--size" in call.stderr) == (2, True)


def test_labels_whose_names_say_nothing_are_known_by_their_examples(
    encoder: SentenceEncoder, tmp_path: Path
) -> None:
    coded = [Label(id=label.id, name=f"code {number}") for number, label in enumerate(KNOWN)]
    examples = [
        Example(text=f"{way} {label.id}", labels=(label.id,)) for label in coded for way in EXAMPLE_WAYS
    ]
    options = GapOptions()
    for shown, wanted in (((), set()), (examples, {"the guitar", "bread"})):
        program = build(coded, encoder=encoder, examples=shown, index_folder=tmp_path)
        found = find_gaps(program, look(program, Corpus.read(TEXTS, encoder), options), options)
        proposed = [text for change in found if isinstance(change, New) for text in change.label.examples]
        assert {GOLD[TEXTS.index(text)] for text in proposed} == wanted
