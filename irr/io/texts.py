"""Texts with gold labels, checked whole before any work is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from irr.errors import TextsError
from irr.io.files import parse_json_row, read_lines
from irr.labels.space import LabelSpace


class TextRow(BaseModel):
    """A text to classify. Keys that are not named here are carried through to the output."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: Annotated[str, Field(min_length=1)]
    text: str


class GoldRow(TextRow):
    """A text with its right labels, by id; none means that the text has no gold."""

    labels: tuple[str, ...]


Row = TypeVar("Row", bound=TextRow)


def read_rows(path: Path, model: type[Row]) -> Iterator[tuple[int, Row]]:
    """Yields the rows of a JSONL file with their numbers, from 1; blank lines are passed over.

    Raises:
        TextsError: With file and row, for a row that is no `model` or repeats an id.
    """
    row_of: dict[str, int] = {}
    for number, line in read_lines(path, TextsError):
        if not line.strip():
            continue
        row = parse_json_row(model, line, path, number, TextsError, repair=True)
        first = row_of.setdefault(row.id, number)
        if first != number:
            raise TextsError(
                path,
                f'id "{row.id}" is already in row {first}',
                "give every text an id of its own",
                number,
            )
        yield number, row


def read_gold(path: Path, space: LabelSpace) -> list[GoldRow]:
    """Reads texts with gold labels, all of which must be in the label space.

    Raises:
        TextsError: With file and row.
    """
    rows = []
    for number, row in read_rows(path, GoldRow):
        unknown = next((label for label in row.labels if label not in space), None)
        if unknown is not None:
            hint = "correct it, or give the label file that holds it"
            raise TextsError(path, f'gold label "{unknown}" is not in the label space', hint, number)
        rows.append(row)
    if not any(row.labels for row in rows):
        raise TextsError(path, "no text has gold labels", 'give texts with "labels"')
    return rows
