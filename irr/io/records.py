"""Rows in, from JSONL or a table: a record of named fields for each."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from irr.errors import InputError, LabelSpaceError, TextsError
from irr.io.columns import GOLD_FIELDS, LABEL_FIELDS, OWN_NAMES, TEXT_FIELDS, Columns
from irr.io.streams import LONGEST_LINE, ending, open_source, read_lines
from irr.io.tables import TABLES, Table, open_table, plain
from irr.io.validation import explain, parse_json_row

# The separator of the members of a cell.
BETWEEN = "|"
_LISTS = frozenset(("aliases", "parents", "labels"))
_BOM = "\ufeff".encode()

M = TypeVar("M", bound=BaseModel)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """A kind of rows.

    Attributes:
        fields: The fields that a row can have.
        needed: The fields that need a column.
        error: The error to raise for a file that cannot be used.
        extra: Whether other columns are kept.
    """

    fields: tuple[str, ...]
    needed: tuple[str, ...]
    error: type[InputError]
    extra: bool = True


LABELS = Kind(LABEL_FIELDS, ("id", "name"), LabelSpaceError, extra=False)
TEXTS = Kind(TEXT_FIELDS, TEXT_FIELDS, TextsError)
EXAMPLES = Kind(GOLD_FIELDS[1:], GOLD_FIELDS[1:], TextsError)
GOLD = Kind(GOLD_FIELDS, GOLD_FIELDS, TextsError)


def read_models(
    path: Path, model: type[M], kind: Kind, columns: Columns = OWN_NAMES
) -> Iterator[tuple[int, M]]:
    """Yields the rows of a JSONL file or a table with their numbers; blank rows are skipped.

    Args:
        path: The file; its ending says whether it is a table.
        model: The model of a row.
        kind: The kind of the rows.
        columns: The columns that hold the fields.

    Raises:
        InputError: As the kind's error, with file and row, if the file cannot be used.
    """
    if ending(path) in TABLES:
        with open_table(str(path), kind.error, held=True) as table:
            for number, record in _records(str(path), table, kind, columns):
                if isinstance(record, str):
                    raise kind.error(path, record, "quote cells that hold the separator", number)
                try:
                    row = model.model_validate(record)
                except ValidationError as e:
                    raise kind.error(path, *explain(e), number) from e
                yield number, row
        return
    for number, line in read_lines(path, kind.error):
        if line.strip():
            line = _renamed(line, kind, columns)
            yield number, parse_json_row(model, line, path, number, kind.error, kind.extra)


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row before it is parsed.

    Attributes:
        number: Its line or row, from 1.
        line: Its bytes; a table's row is written as a JSON object.
        problem: The reason why it cannot be read; "" if there is none.
    """

    number: int
    line: bytes
    problem: str = ""


@dataclass(frozen=True)
class RawRows:
    """The rows of an input of texts, read once.

    Attributes:
        name: The input's name in messages.
        rows: The rows that are not blank.
        share: The share that has been read, in [0, 1]; None if that is unknown.
        separator: The separator of a CSV file; "" in other formats.
    """

    name: str
    rows: Iterator[RawRow]
    share: Callable[[], float | None]
    separator: str = ""


@contextmanager
def open_rows(name: str, columns: Columns = OWN_NAMES) -> Iterator[RawRows]:
    """Opens an input of texts: a table by its ending, else JSONL; `-` is JSONL from stdin.

    Raises:
        TextsError: Here or while rows are read, if it cannot be read.
        MissingExtraError: If its format needs a package that is not installed.
    """
    if ending(name) in TABLES:
        with open_table(name, TextsError) as table:
            yield RawRows(name, _table_rows(name, table, columns), table.share, table.separator)
        return
    with open_source(name) as source:
        lines = _json_rows(source.lines(), columns)
        yield RawRows(source.name, lines, lambda: source.share)


def _json_rows(lines: Iterator[bytes | None], columns: Columns) -> Iterator[RawRow]:
    for number, line in enumerate(lines, 1):
        if line is None:
            yield RawRow(number, b"", f"longer than {LONGEST_LINE:,} bytes: split the text")
        elif line.strip().removeprefix(_BOM):
            if columns.named:
                line = _renamed(line.decode("utf-8", "surrogateescape"), TEXTS, columns).encode(
                    "utf-8", "surrogateescape"
                )
            yield RawRow(number, line)


def _table_rows(name: str, table: Table, columns: Columns) -> Iterator[RawRow]:
    for number, record in _records(name, table, TEXTS, columns):
        if isinstance(record, str):
            yield RawRow(number, record.encode(), f"{record}: quote cells that hold the separator")
        else:
            yield RawRow(number, json.dumps(record, ensure_ascii=False).encode("utf-8", "replace"))


def _renamed(line: str, kind: Kind, columns: Columns) -> str:
    """A JSON object with its keys renamed to the fields; any other line is unchanged."""
    if not columns.named:
        return line
    try:
        row = json.loads(line.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return line
    return json.dumps(columns.rename(row, kind.fields)) if isinstance(row, dict) else line


def _records(
    name: str, table: Table, kind: Kind, columns: Columns
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yields the rows of a table as records, or the problem of a row; logs the detected columns."""
    if not table.header:
        return
    found = columns.find(table.header, kind.fields, kind.needed, kind.error(name, "", "", 1))
    used = ", ".join(f"{field} = {table.header[place]}" for place, field in found.items())
    _say(f"{name}: " + "; ".join(filter(None, (table.found, f"columns {used}"))))
    keys = _keys(table.header, found)
    for number, cells in table.rows:
        if len(cells) > len(keys) and any(cell not in (None, "") for cell in cells[len(keys) :]):
            yield number, f"{len(cells)} cells in {len(keys)} columns"
            continue
        record: dict[str, Any] = {}
        for place, key in enumerate(keys):
            cell = cells[place] if place < len(cells) else None
            if place in found:
                record[key] = field_value(key, cell)
            elif kind.extra:
                record[key] = plain(cell)
        yield number, record


@lru_cache(64)
def _say(found: str) -> None:
    """Logs a detection once, though a file may be opened several times."""
    logger.info("%s", found)


def _keys(header: Iterable[str], found: Mapping[int, str]) -> list[str]:
    """The key of each column in a record: its field, or its name, made distinct."""
    taken = set(found.values())
    keys = []
    for place, name in enumerate(header):
        key = found.get(place, name)
        if place not in found:
            while key in taken:
                key += "_"
            taken.add(key)
        keys.append(key)
    return keys


def field_value(name: str, cell: Any) -> Any:
    """The value of a field from a cell or a data frame: lists are split, numbers read."""
    value = plain(cell)
    if name in _LISTS:
        if isinstance(value, str):
            return [part for member in value.split(BETWEEN) if (part := member.strip())]
        members = value if isinstance(value, list) else [] if value is None else [value]
        return [_whole(member) for member in members if member is not None]
    match name:
        case "id":
            return "" if value is None else _whole(value)
        case "name" | "text":
            return "" if value is None else value if isinstance(value, str) else str(value)
        case "description":
            return None if value in (None, "") else str(value)
        case "prior":
            if not isinstance(value, str):
                return value
            value = value.strip()
            # Excel writes a decimal comma in many countries.
            return (value.replace(",", ".") if value.count(",") == 1 and "." not in value else value) or None
    return value


def _whole(value: Any) -> Any:
    """A float without a fraction as an integer, because some tables hold only floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
