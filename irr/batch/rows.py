"""The rows of a batch: each is read, or gets its error, and is answered by one line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from irr.batch.tally import Outcome
from irr.errors import TextsError
from irr.io.records import RawRow, RawRows
from irr.io.texts import TextRow
from irr.io.validation import parse_json_row
from irr.types import Prediction, RowError

_BOM = "\ufeff"
_DIGEST = 16
# So many bad rows at the beginning mean that the file holds something else than texts.
_MOST_BAD = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A text to classify, or the error of a row that holds none.

    Attributes:
        id: The id; None where it cannot be read.
        text: The text to classify.
        digest: The digest of the row's bytes, by which a run recognizes its input.
        meta: The keys that are carried through to the output.
        error: What is wrong with the row.
    """

    id: str | int | None
    text: str
    digest: bytes
    meta: Mapping[str, Any] = field(default_factory=dict)
    error: RowError | None = None


@dataclass(frozen=True, slots=True)
class OutputRow:
    """A line of output.

    Attributes:
        digest: The digest of the input row that it answers.
        line: The line, with its line break.
        outcome: What it adds to the tally.
    """

    digest: bytes
    line: bytes
    outcome: Outcome


def rows_of(source: RawRows) -> Iterator[Row]:
    """The rows of a source, each read or with its error; the first ones are read at once.

    Raises:
        TextsError: If the first 20 rows are bad, if no row of a shorter source is a JSON object or a row of a
            table, or, later on, if the source breaks off.
    """
    bad: list[Row] = []
    formed = False
    for raw in source.rows:
        row = read_row(raw)
        if row.error is None:
            return chain(bad, [row], map(read_row, source.rows))
        bad.append(row)
        formed = formed or (not raw.problem and _object(raw.line) is not None)
        if len(bad) == _MOST_BAD:
            raise _unreadable(source, bad, f"the first {_MOST_BAD} rows")
    if bad and not formed:
        raise _unreadable(source, bad, "its rows")
    return iter(bad)


def _unreadable(source: RawRows, bad: list[Row], which: str) -> TextsError:
    # The row and its problem, without the hint for a single row.
    first = ": ".join(bad[0].error.message.split(": ")[:2]) if bad[0].error else ""
    hint = 'give {"id", "text"} a line, or a table'
    return TextsError(source.name, f"none of {which} can be read; {first}", hint)


def read_row(raw: RawRow) -> Row:
    """Reads one row; what is wrong with it becomes its error, with its line number."""
    digest = hashlib.blake2b(raw.line.strip(), digest_size=_DIGEST).digest()
    if raw.problem:
        return _bad(raw, digest, raw.problem)
    try:
        # Concatenated files hold a byte order mark in their middle.
        line = raw.line.decode().removeprefix(_BOM)
    except UnicodeDecodeError:
        return _bad(raw, digest, "not UTF-8: save the file with UTF-8 encoding")
    try:
        row = parse_json_row(TextRow, line, Path(), raw.number, TextsError, repair=True)
    except TextsError as e:
        return _bad(raw, digest, f"{e.problem}: {e.hint}", _id_of(line))
    return Row(row.id, row.text, digest, row.model_extra or {})


def answer(row: Row, prediction: Prediction, costs: bool) -> OutputRow:
    """The line of output for a row; with `costs`, it says what the language-model calls cost."""
    if row.error:
        prediction = Prediction(error=row.error)
    fields = fields_of(row.id, prediction)
    if costs:
        fields["costs"] = prediction.costs.model_dump()
    if row.meta:
        fields["meta"] = row.meta
    return OutputRow(row.digest, json_line(fields), Outcome.of(prediction))


def fields_of(name: str | int | None, prediction: Prediction) -> dict[str, Any]:
    """The fields of an output row: the id of its text, its labels, its error, and what else is to be said."""
    labels = [label.model_dump(exclude_none=True) for label in prediction.labels]
    fields: dict[str, Any] = {"id": name, "labels": labels, "error": None}
    if prediction.error:
        fields["error"] = prediction.error.model_dump()
    if prediction.abstained:
        fields["abstained"] = True
    if prediction.scope is not None:
        fields["scope"] = prediction.scope
    if prediction.fallbacks:
        fields["fallbacks"] = [fallback.model_dump() for fallback in prediction.fallbacks]
    return fields


def read_output_row(line: bytes) -> dict[str, Any] | None:
    """The answer that a line of an output holds; None for a line that a crash cut off."""
    if not line.endswith(b"\n"):
        return None
    fields = _object(line)
    return fields if fields is not None and {"id", "error"} <= fields.keys() else None


def _object(line: str | bytes) -> dict[str, Any] | None:
    """The JSON object that a line holds; None if it holds none."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def json_line(fields: dict[str, Any]) -> bytes:
    """A row of JSON with its end; NaN among the keys that are carried through becomes null."""
    try:
        line = json.dumps(fields, ensure_ascii=False, allow_nan=False)
    except ValueError:  # a key that is carried through holds NaN, which JSON cannot write
        fields["meta"] = json.loads(json.dumps(fields["meta"]), parse_constant=lambda _: None)
        line = json.dumps(fields, ensure_ascii=False, allow_nan=False)
    return line.encode() + b"\n"


def _bad(raw: RawRow, digest: bytes, problem: str, name: str | int | None = None) -> Row:
    return Row(name, "", digest, error=RowError(code="bad_row", message=f"row {raw.number}: {problem}"))


def _id_of(line: str) -> str | int | None:
    """The id of a row whose other fields cannot be used."""
    name = (_object(line) or {}).get("id")
    if isinstance(name, str) and name:
        return name.encode("utf-8", "replace").decode()
    return name if type(name) is int and abs(name) < 2**63 else None
