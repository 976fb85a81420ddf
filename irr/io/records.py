"""Rows of named fields, from JSONL, a table or a data frame."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from irr.errors import InputError, UsageError
from irr.io.columns import OWN_NAMES, TEXTS, Columns, RowKind, distinct, field_value, plain
from irr.io.streams import LONGEST_LINE, ending, import_extra, open_source
from irr.io.tables import TABLES, RowStream, Table, open_table
from irr.io.validation import explain, parse_json_row
from irr.types import RowError

_BOM = "\ufeff"
_BRACE = ord("{")
# Attributes of data frames and series, each of which has one; narwhals is not imported for other data.
_FRAME = ("__arrow_c_stream__", "__dataframe__", "to_numpy", "collect_schema", "compute", "toPandas")

M = TypeVar("M", bound=BaseModel)

logger = logging.getLogger(__name__)


class UnreadableRow(NamedTuple):
    """The content of a row that cannot be read: the reason, and what to change."""

    problem: str
    hint: str


# A line of JSON, or the record of a table's row.
RowContent: TypeAlias = bytes | dict[str, Any] | UnreadableRow
RawRow: TypeAlias = tuple[int, RowContent]
RawRows: TypeAlias = RowStream[RowContent]


def parse_row(row: RawRow, model: type[M], path: str | Path, kind: RowKind) -> M:
    """A row as a model; raises the kind's error with the row if it cannot be read or does not fit."""
    number, content = row
    if isinstance(content, UnreadableRow):
        raise kind.error(path, *content, number)
    try:
        if isinstance(content, bytes):
            return model.model_validate_json(content)
        return model.model_validate(content)
    except ValidationError as e:
        if isinstance(content, dict):
            raise kind.error(path, *explain(e), number) from e
    try:
        # Concatenated files hold a byte order mark in their middle.
        line = content.decode().removeprefix(_BOM)
    except UnicodeDecodeError as e:
        raise kind.error(path, "not UTF-8", "save the file with UTF-8 encoding", number) from e
    return parse_json_row(model, line, Path(path), number, kind.error, kind.extra)


@contextmanager
def open_rows(
    name: str | Path, columns: Columns = OWN_NAMES, kind: RowKind = TEXTS, held: bool = False
) -> Iterator[RawRows]:
    """Opens an input: a table by its ending, else JSONL; `-` is JSONL from stdin.

    Faults raise the kind's error, here or while rows are read; of rows `held` in memory, a bomb is one.
    """
    if ending(name) in TABLES:
        with open_table(str(name), kind.error, held) as table:
            rows = _table_rows(table, kind, columns)
            yield RowStream(table.name, rows, table.share, separator=table.separator)
        return
    with open_source(name, held, kind.error) as source:
        yield RowStream(source.name, _json_rows(source.lines(), kind, columns), lambda: source.share)


def read_models(
    path: Path, model: type[M], kind: RowKind, columns: Columns = OWN_NAMES
) -> Iterator[tuple[int, M]]:
    """Yields the rows of a JSONL file or a table with their numbers; raises the kind's errors."""
    with open_rows(path, columns, kind, held=True) as source:
        for row in source.rows:
            yield row[0], parse_row(row, model, path, kind)


def _json_rows(lines: Iterator[bytes | None], kind: RowKind, columns: Columns) -> Iterator[RawRow]:
    renames = bool(columns.named)
    for number, line in enumerate(lines, 1):
        if line is None:
            yield number, UnreadableRow(f"longer than {LONGEST_LINE:,} bytes", "split the text")
        elif line[0] == _BRACE or line.strip().removeprefix(_BOM.encode()):
            yield number, _renamed(line, kind, columns) if renames else line


def _renamed(line: bytes, kind: RowKind, columns: Columns) -> bytes:
    """A JSON object with its keys renamed to the fields; any other line is unchanged."""
    try:
        record = json.loads(line.decode().removeprefix(_BOM))
    except (ValueError, RecursionError):
        return line
    return json.dumps(columns.rename(record, kind)).encode() if isinstance(record, dict) else line


def _table_rows(table: Table, kind: RowKind, columns: Columns) -> Iterator[RawRow]:
    """The rows of a table as records; logs the detected columns."""
    if not table.header:
        return
    found = columns.find(table.header, kind, table.name, 1)
    used = ", ".join(f"{field} = {table.header[place]}" for place, field in found.items())
    _log_once(f"{table.name}: {table.found}columns {used}")
    others = [name for place, name in enumerate(table.header) if place not in found]
    names = iter(distinct(others, found.values()))
    keys = [(found.get(place) or next(names), place in found) for place in range(len(table.header))]
    for number, cells in table.rows:
        if len(cells) > len(keys) and any(cell not in (None, "") for cell in cells[len(keys) :]):
            problem = f"{len(cells)} cells in {len(keys)} columns"
            yield number, UnreadableRow(problem, "quote cells that hold the separator")
            continue
        record = {
            key: field_value(key, cell) if is_field else plain(cell)
            for (key, is_field), cell in zip_longest(keys, cells[: len(keys)])
            if is_field or kind.extra
        }
        yield number, record


@lru_cache(64)
def _log_once(found: str) -> None:
    """Logs a detection once, though a file may be opened several times."""
    logger.info("%s", found)


def frame_records(data: Any, kind: RowKind) -> Iterable[Any]:
    """The rows of a data frame as mappings by field, the values of a series; other data is unchanged."""
    frame = _native(data)
    if frame is None:
        return data  # type: ignore[no-any-return]
    if not hasattr(frame, "columns"):
        return [plain(value) for value in frame]
    found = _find(frame, kind)
    rows = frame.select([frame.columns[place] for place in found]).iter_rows()
    names = list(found.values())
    return ({name: field_value(name, cell) for name, cell in zip(names, row, strict=True)} for row in rows)


def frame_texts(data: Any) -> Iterator[str | RowError]:
    """The texts of a data frame's column `text`, of a series, or of an iterable.

    A missing value (None, NaN) or a value of another type becomes the error of its row; data that has no such
    column, or is lazy, raises a UsageError at the call.
    """
    values = _native(data)
    if values is None:
        if not isinstance(data, Iterable):
            raise UsageError(f"{type(data).__name__} holds no texts", "give a list of texts")
        values = data
    elif hasattr(values, "columns"):
        (place,) = _find(values, RowKind(("text",), InputError))
        values = values.get_column(values.columns[place])
    return map(_text, values)


def _text(value: Any) -> str | RowError:
    if isinstance(value, str):
        return value
    if plain(value) is None:
        return RowError(code="empty_text", message="the text is missing")
    return RowError(code="bad_row", message=f"{type(value).__name__} is not a text: give a string")


def _find(frame: Any, kind: RowKind) -> dict[int, str]:
    try:
        return OWN_NAMES.find([str(name) for name in frame.columns], kind, "the data frame")
    except InputError as e:
        raise UsageError(e.message, "rename a column of it") from e


def _native(data: Any) -> Any:
    """The frame or series behind narwhals' interface, which imports none of the libraries; else None."""
    if not any(hasattr(data, name) for name in _FRAME):
        return None
    nw = import_extra("narwhals", f"{type(data).__name__} as input")
    frame = nw.from_native(data, pass_through=True, allow_series=True)
    if isinstance(frame, nw.LazyFrame):
        raise UsageError("the data frame is lazy", "compute it first, as with .collect()")
    if isinstance(frame, nw.DataFrame | nw.Series):
        return frame
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__dataframe__"):
        raise UsageError(f"unknown data frame {type(data).__name__}", "give a list, or a pandas data frame")
    return None
