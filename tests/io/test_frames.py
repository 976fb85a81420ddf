"""Data frames as labels and texts: pandas, polars, pyarrow, and what is missing in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import UsageError
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank, build

LABELS = {"ID": [1, 2], "name": ["bake bread", "wash dishes"], "aliases": ["make loaves|bake", None]}
FRAMES = [pd.DataFrame, pl.DataFrame, pa.table]


@pytest.mark.parametrize("frame", FRAMES)
def test_labels_and_texts_come_by_column(
    frame: Callable[..., Any], encoder: SentenceEncoder, index_folder: Path
) -> None:
    program = build(frame(LABELS), encoder=encoder, index_folder=index_folder)
    assert [label.id for label in program.space] == ["1", "2"]
    assert program.space[0].aliases == ("make loaves", "bake")
    texts = frame({"nr": [1, 2, 3], "Text": ["we bake loaves", None, "clean plates"]})
    first, missing, last = program.batch(texts, top_k=1)
    assert (first.labels[0].id, last.labels[0].id) == ("1", "2")
    assert missing.error
    assert missing.error.code == "empty_text"


@pytest.mark.parametrize("series", [pd.Series, pl.Series])
def test_a_series_is_names_or_texts(series: Callable[..., Any], program: InferRetrieveRank) -> None:
    assert [label.name for label in LabelSpace(series(["a", "b"]))] == ["a", "b"]
    good, missing = program.batch(series(["bake bread", None]))
    assert good.labels
    assert missing.error


def test_each_text_that_is_none_has_its_error_and_the_others_are_answered(program: InferRetrieveRank) -> None:
    given = ["bake", None, float("nan"), 7, b"bake", ["bake"], np.nan, pd.NA, "wash"]
    found = list(program.batch(given))
    codes = [prediction.error.code if prediction.error else "" for prediction in found]
    empty, bad = "empty_text", "bad_row"
    assert codes == ["", empty, empty, bad, bad, bad, empty, empty, ""]
    assert found[0].labels
    assert found[-1].labels


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (pd.DataFrame({"abstract": ["x"]}), 'no column "text"; the columns are "abstract"'),
        (pl.LazyFrame({"text": ["x"]}), "lazy"),
        ({"text": ["x"]}, "takes many texts"),
        (7, "int holds no texts"),
    ],
)
def test_what_has_no_texts_is_one_clear_error(program: InferRetrieveRank, texts: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        program.batch(texts)


def test_labels_without_a_name_are_one_clear_error() -> None:
    with pytest.raises(UsageError, match='no column "name"'):
        LabelSpace(pd.DataFrame({"id": ["a"], "title": ["b"]}))
