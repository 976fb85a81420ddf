"""Texts, and texts with gold labels, which are all checked before any work."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator
from pydantic_core import PydanticKnownError

from irr.errors import TextsError
from irr.io.columns import GOLD, OWN_NAMES, TEXTS, Columns
from irr.io.records import read_models
from irr.types import LabelId


def _id(value: Any) -> str | int:
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    if not value:
        raise PydanticKnownError("string_too_short", {"min_length": 1})
    return value


# Ids of texts are strings or integers, and come back as they came.
TextId = Annotated[str | int, PlainValidator(_id)]


class TextRow(BaseModel):
    """A text to classify. Other keys are carried through to the output."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: TextId
    text: str


class GoldRow(TextRow):
    """A text with the ids of its gold labels, which may be none."""

    labels: tuple[LabelId, ...]


T = TypeVar("T", bound=TextRow)


def read_rows(path: Path, model: type[T], columns: Columns = OWN_NAMES) -> Iterator[tuple[int, T]]:
    """Yields the rows of a JSONL file or a table with their numbers; ids must differ."""
    row_of: dict[str | int, int] = {}
    for number, row in read_models(path, model, GOLD if issubclass(model, GoldRow) else TEXTS, columns):
        first = row_of.setdefault(row.id, number)
        if first != number:
            problem = f'id "{row.id}" is already in row {first}'
            raise TextsError(path, problem, "give every text an id of its own", number)
        yield number, row


def read_gold(path: Path, space: Container[str], columns: Columns = OWN_NAMES) -> list[GoldRow]:
    """Reads texts with gold labels; raises a TextsError if one is not in the label space."""
    rows = []
    for number, row in read_rows(path, GoldRow, columns):
        unknown = next((label for label in row.labels if label not in space), None)
        if unknown is not None:
            hint = "correct it, or give the label file that holds it"
            raise TextsError(path, f'gold label "{unknown}" is not in the label space', hint, number)
        rows.append(row)
    if not any(row.labels for row in rows):
        raise TextsError(path, "no text has gold labels", 'give texts with "labels"')
    return rows


def gold_within(part: Collection[str] | None, rows: Sequence[GoldRow]) -> list[GoldRow]:
    """The rows with only those labels that are in a part of the label space; None is the whole space."""
    if part is None:
        return list(rows)
    return [
        row.model_copy(update={"labels": tuple(label for label in row.labels if label in part)})
        for row in rows
    ]
