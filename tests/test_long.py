"""Long texts: every part is read, its place is named, and a ranker sees the parts that matter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank, build
from irr.rank.ranker import RetrievalRanker
from irr.types import Candidate, Ranking
from tests.support import Irr

PAGES = "This agreement is made between the parties named below. Page of the contract. " * 60
TEXT = f"{PAGES}In the morning they bake bread. {PAGES}Later they wash dirty dishes. {PAGES}"


class Reader(RetrievalRanker):
    """Keeps the texts that it is shown."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
        self.seen += texts
        return super().rank(texts, candidates)


def test_what_stands_deep_in_a_long_text_is_found_and_its_place_named(program: InferRetrieveRank) -> None:
    prediction = program(TEXT, top_k=2, trace=True)
    assert {label.id for label in prediction.labels} == {"bake", "wash"}
    assert prediction.trace
    for candidate in prediction.trace.candidates[:2]:
        assert candidate.place
        passage = TEXT[slice(*candidate.place)]
        assert {"bake": "bake bread", "wash": "dirty dishes"}[candidate.label.id] in passage
        for match in candidate.matches:
            assert candidate.place[0] <= (match.start or 0) < (match.end or 0) <= candidate.place[1]


def test_a_ranker_sees_the_parts_of_a_long_text_that_matter(
    kitchen: LabelSpace, encoder: SentenceEncoder, index_folder: Path
) -> None:
    reader = Reader()
    program = build(
        kitchen,
        encoder=encoder,
        settings=Settings().replace({"rank.characters": 1_000}),
        ranker=reader,
        index_folder=index_folder,
    )
    program(TEXT)
    program("Bake bread.")
    long, short = reader.seen
    assert len(long) <= 1_100
    assert 0 < long.index("bake bread") < long.index("dirty dishes")
    assert " … " in long
    assert short == "Bake bread."


def test_inspect_shows_where_a_label_is_spoken_for(irr: Irr, labels_file: Path) -> None:
    result = irr("inspect", "--labels", labels_file, "--text", "-", "--top-k", 2, stdin=TEXT)
    assert result.returncode == 0, result.stderr
    start = TEXT.index("bake bread")
    assert f"[{start:,}–{start + len('bake bread'):,}] bake bread" in result.stdout
    assert "more, from" in result.stdout
