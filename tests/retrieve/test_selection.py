"""Selection: which spans of a long text are encoded, and that short texts keep all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from irr.config import Settings
from irr.encoders.base import Encoder
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.index.store import open_index
from irr.infer.spans import SpanInferer
from irr.labels.space import LabelSpace
from irr.program.program import build
from irr.retrieve.queries import Pools, best_match, select
from irr.retrieve.score import Floats, ParentPropagation, Pool
from irr.types import Query, QueryKind
from tests.doubles.hash_encoder import HashEncoder

LONG = "The committee met on Monday in the old hall near the river and talked about many things. " * 2 + (
    "Later the cook baked bread for everyone, washed the dishes and ordered supplies. Nobody spoke of it."
)
SHORT = "You will bake bread."


def selected(
    texts: list[str],
    space: LabelSpace,
    encoder: Encoder,
    folder: Path,
    changes: dict[str, float],
) -> tuple[list[tuple[Query, ...]], list[Sequence[Query]], dict[str, Floats]]:
    """The queries of texts before and after, and the vectors of passages."""
    settings = Settings().replace(changes)
    index = open_index(space, encoder, settings.retrieve.fields, folder)
    pools = Pools(index, settings.retrieve, ParentPropagation(space, 0.0), None)
    queries = [inference.queries for inference in SpanInferer(settings.infer).infer(texts)]
    return queries, *select(queries, encoder, pools, settings.retrieve)


def spans(queries: object) -> list[str]:
    """The distinct spans among queries."""
    return list(dict.fromkeys(q.text for q in queries if q.kind is QueryKind.SPAN))  # type: ignore[attr-defined]


@pytest.mark.parametrize("exact", [0, 1_000])
def test_a_long_text_keeps_the_spans_that_are_likeliest_to_match(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path, exact: int
) -> None:
    changes = {"retrieve.spans_always": 12, "retrieve.span_share": 0.1, "retrieve.exact_entries": exact}
    (queries,), (found,), known = selected([LONG], kitchen, encoder, tmp_path, changes)
    kept = spans(found)
    assert len(spans(queries)) > 40
    assert len(kept) == 12
    assert {"baked bread", "ordered supplies"} <= set(kept)
    texts = [query for query in queries if query.kind is QueryKind.TEXT]
    assert [query for query in found if query.kind is QueryKind.TEXT] == texts
    assert np.array_equal([*known.values()], encoder.encode([query.text for query in texts]))


def test_a_share_of_many_spans_is_kept(kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path) -> None:
    changes = {"retrieve.spans_always": 5, "retrieve.span_share": 0.5}
    (queries,), (found,), _ = selected([LONG], kitchen, encoder, tmp_path, changes)
    assert len(spans(found)) == round(len(spans(queries)) / 2)


def test_a_short_text_keeps_every_query(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    queries, found, _ = selected([SHORT, LONG], kitchen, encoder, tmp_path, {"retrieve.spans_always": 12})
    assert found[0] == queries[0]
    assert len(found[1]) < len(queries[1])


def test_nothing_is_left_out_where_places_have_no_vectors(kitchen: LabelSpace, tmp_path: Path) -> None:
    changes = {"retrieve.spans_always": 1, "retrieve.span_share": 0.0}
    queries, found, known = selected([LONG], kitchen, HashEncoder(), tmp_path, changes)
    assert found == queries
    assert not known


def test_answers_do_not_depend_on_the_texts_beside(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    settings = Settings().replace({"retrieve.spans_always": 12, "retrieve.span_share": 0.2})
    program = build(kitchen, encoder=encoder, settings=settings, index_folder=tmp_path)
    texts = [LONG, SHORT, "Plan the menus. " + LONG, LONG + " Repair the bicycles."]
    assert list(program.batch(texts)) == [program(text) for text in texts]


def test_the_best_match_is_less_the_margin_of_its_entry() -> None:
    pool = Pool(
        labels=np.arange(2),
        vectors=np.eye(3, dtype=np.float32),
        starts=np.array([0, 2]),
        kinds=np.zeros(3, np.uint8),
        margins={QueryKind.SPAN: np.array([0, 0.5, 0.1], np.float32)},
    )
    vectors = np.array([[0.6, 0.8, 0], [0, 0.6, 0.8], [0, 0, 0]], np.float32)
    assert best_match(vectors, pool) == pytest.approx([0.6, 0.7, 0.0])
