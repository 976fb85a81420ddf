"""The program as a Python caller uses it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irr
from irr.program.program import InferRetrieveRank
from irr.program.spec import ALGORITHM
from irr.rank.ranker import by_score
from irr.types import Candidate, Ranking
from tests.doubles.scripted import ScriptedModel
from tests.support import KITCHEN

TEXTS = [
    "You will bake sourdough bread every morning.",
    "",
    "Washing the dishes, then ordering supplies from the wholesaler.",
    "Kitchen staff are supervised by you",
    "C++",
]


def ids(prediction: irr.Prediction) -> list[str]:
    return [label.id for label in prediction.labels]


def test_good_labels_come_first(program: InferRetrieveRank) -> None:
    predictions = list(program.batch(TEXTS, top_k=2))
    assert ids(predictions[0])[0] == "bake"
    assert set(ids(predictions[2])) == {"wash", "buy"}
    assert ids(predictions[3])[0] == "staff"
    assert ids(predictions[4])[0] == "cpp"


def test_one_call_and_a_batch_agree(program: InferRetrieveRank) -> None:
    for text, in_batch in zip(TEXTS, program.batch(TEXTS), strict=True):
        alone = program(text)
        assert ids(alone) == ids(in_batch)
        assert alone.error == in_batch.error
        for one, other in zip(alone.labels, in_batch.labels, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)


def test_a_prediction_has_distinct_labels_with_falling_scores(program: InferRetrieveRank) -> None:
    prediction = program(TEXTS[2], top_k=5)
    scores = [label.score for label in prediction.labels]
    assert len(set(ids(prediction))) == 5
    assert scores == sorted(scores, reverse=True)


def test_an_unusable_text_has_an_error_and_the_others_their_answers(program: InferRetrieveRank) -> None:
    huge = "word " * 400_000
    predictions = list(program.batch(["bread", " \n", "\x00\x01", huge, "a\x00bread\ud800", "dishes"]))
    assert [p.error.code if p.error else None for p in predictions] == [
        None,
        "empty_text",
        "empty_text",
        "text_too_long",
        None,
        None,
    ]
    assert all(bool(p.labels) != bool(p.error) for p in predictions)


def test_batch_streams(program: InferRetrieveRank) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"bake bread number {read}"

    stream = program.batch(endless())
    assert next(stream).labels
    assert read < 1_000


def test_the_trace_holds_every_stage(program: InferRetrieveRank) -> None:
    trace = program(TEXTS[0], top_k=1, trace=True).trace
    assert trace is not None
    assert "sourdough bread" in [query.text for query in trace.queries]
    assert trace.candidates[0].matches
    assert [label.id for label in trace.ranking] == [c.label.id for c in trace.candidates]


class Backwards:
    def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
        return [by_score(group, [-candidate.score for candidate in group]) for group in candidates]


class Letters:
    """An encoder of another kind: counts of letters."""

    name = "letters"

    def encode(self, texts: Sequence[str]) -> Any:
        counts = np.array([[text.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz+"] for text in texts])
        return (counts / np.maximum(1, np.linalg.norm(counts, axis=1, keepdims=True))).astype(np.float32)


def test_another_ranker_drops_in(
    program: InferRetrieveRank, encoder: irr.SentenceEncoder, index_folder: Path
) -> None:
    other = irr.build(KITCHEN, encoder=encoder, index_folder=index_folder, ranker=Backwards())
    every = len(KITCHEN)
    assert ids(other(TEXTS[0], top_k=every)) == ids(program(TEXTS[0], top_k=every))[::-1]


def test_another_encoder_drops_in(tmp_path: Path) -> None:
    program = irr.build(["plain", "names, as labels", "C++"], encoder=Letters(), index_folder=tmp_path)
    assert ids(program("nplia", top_k=1)) == ["plain"]


def test_a_label_space_of_one(encoder: irr.SentenceEncoder, tmp_path: Path) -> None:
    program = irr.build(["only"], encoder=encoder, index_folder=tmp_path)
    assert ids(program("anything at all")) == ["only"]


def test_no_labels_asked_for_is_an_error(program: InferRetrieveRank) -> None:
    with pytest.raises(irr.IrrError, match="at least one"):
        program("text", top_k=0)


def test_one_text_is_no_batch(program: InferRetrieveRank) -> None:
    with pytest.raises(irr.IrrError, match="batch takes many texts"):
        program.batch("bread")
    with pytest.raises(irr.IrrError, match="labels are one mapping"):
        irr.build({"a": "bake"})


def test_a_program_cannot_be_changed(program: InferRetrieveRank) -> None:
    before = program.digest
    for name in ("ranker", "settings", "examples", "workers", "anything"):
        with pytest.raises(FrozenInstanceError):
            setattr(program, name, None)
    with pytest.raises(FrozenInstanceError):
        del program.stages  # type: ignore[misc]
    assert program.digest == before


def test_a_program_is_shown_in_one_line(program: InferRetrieveRank) -> None:
    assert repr(program) == "InferRetrieveRank(8 labels, all-MiniLM-L6-v2, not calibrated)"


def test_what_differs_has_another_digest(
    program: InferRetrieveRank, encoder: irr.SentenceEncoder, index_folder: Path
) -> None:
    def built(**options: Any) -> InferRetrieveRank:
        return irr.build(KITCHEN, encoder=encoder, index_folder=index_folder, **options)

    example = {"text": "Knead the dough", "labels": ["bake"]}
    model = ScriptedModel()
    programs = {
        "as it is": program,
        "settings": built(settings=irr.Settings().replace({"retrieve.hubness_names": 19})),
        "examples": built(examples=[example]),
        "ranker": built(ranker=Backwards()),
        "terms": built(infer_lm=model),
        "ranking": built(rank_lm=model),
        "task": built(rank_lm=model, task="esco"),
        "labels": irr.build(KITCHEN[:-1], encoder=encoder, index_folder=index_folder),
        "leave one out": built(examples=[example]).leaving_examples_out(),
    }
    digests = {name: other.digest for name, other in programs.items()}
    assert len(set(digests.values())) == len(digests), digests
    assert built().digest == program.digest
    assert program.in_groups(8, workers=4).digest == program.digest, "pace is no answer"
    other = program.spec.replace(algorithm=ALGORITHM + 1)
    assert other.digest(program.space.fingerprint) != program.digest
