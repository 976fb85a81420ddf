"""Tables in: CSV, TSV, XLSX and Parquet as a header and rows of cells."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from irr.errors import InputError, IrrError, MissingExtraError
from irr.io.delimited import Delimited
from irr.io.streams import Source, ending, open_source

EXTRA = "pip install 'irr[tables]'"
# The most rows of a sheet; a broken file may claim more.
SHEET_ROWS = 2**20
_SHEET_BYTES, _SHEET_TIMES = 64 * 2**20, 200
_BATCH_ROWS = 256
TABLES = (".csv", ".tsv", ".xlsx", ".parquet")

Cells = Sequence[Any]


@dataclass
class Table:
    """A table that is read once, row by row.

    Attributes:
        header: The names of the columns, each once.
        rows: Their numbers, as the format counts them, and their cells.
        found: The detected properties, in words; "" if there are none.
        separator: The separator of CSV cells; "" in other formats.
        share: The share that has been read, in [0, 1]; None if that is unknown.
    """

    header: tuple[str, ...]
    rows: Iterator[tuple[int, Cells]]
    found: str
    separator: str
    share: Callable[[], float | None]


@contextmanager
def open_table(name: str, error: type[InputError], held: bool = False) -> Iterator[Table]:
    """Opens the table of that name; its ending, one of `TABLES`, says its format.

    Args:
        name: The file.
        error: The error to raise.
        held: Whether the rows stay in memory, so that a bomb must be refused.

    Raises:
        InputError: As `error`, here or while rows are read, if it is missing or not of its format.
        MissingExtraError: If its format needs a package that is not installed.
    """
    with open_source(name, held, error) as source:
        match ending(name):
            case ".xlsx":
                opened = _open_xlsx(name, error)
            case ".parquet":
                opened = _open_parquet(name, error)
            case suffix:
                opened = _delimited(source, "\t" if suffix == ".tsv" else "")
        with opened as table:
            yield table


@contextmanager
def _delimited(source: Source, separator: str) -> Iterator[Table]:
    text = Delimited(source, separator)
    rows = iter(text)
    _, header = next(rows, (1, []))
    shown = {"\t": "tab"}.get(text.separator, f'"{text.separator}"')
    found = f"separator {shown}, encoding {text.encoding}"
    yield Table(_names(header), rows, found, text.separator, lambda: source.share)


@contextmanager
def _open_xlsx(name: str, error: type[InputError]) -> Iterator[Table]:
    try:
        import openpyxl
    except ImportError as e:
        raise MissingExtraError(f"{name}: XLSX needs openpyxl", EXTRA) from e
    with _explained(name, "XLSX", error):
        _check_size(name, error)
        book = openpyxl.load_workbook(name, read_only=True, data_only=True)
    with closing(book):
        with _explained(name, "XLSX", error):
            sheet = next((s for s in book.worksheets if s.sheet_state == "visible"), None)
            if sheet is None:
                raise error(name, "all sheets are hidden", "show the sheet with the table, and save it")
            sheet.reset_dimensions()  # the size in the file may be wrong
        rows = _sheet_rows(name, error, sheet.iter_rows(values_only=True))
        _, header = next(rows, (1, ()))
        found = f'sheet "{sheet.title}"' if len(book.worksheets) > 1 else ""
        yield Table(_names(header), rows, found, "", lambda: None)


def _check_size(name: str, error: type[InputError]) -> None:
    with zipfile.ZipFile(name) as packed:
        parts = packed.infolist()
    size, packed_size = sum(part.file_size for part in parts), sum(part.compress_size for part in parts)
    if size > _SHEET_BYTES and size > _SHEET_TIMES * packed_size:
        raise error(name, f"unpacks to more than {_SHEET_TIMES} times its size", "save it anew")


def _sheet_rows(name: str, error: type[InputError], rows: Iterator[Cells]) -> Iterator[tuple[int, Cells]]:
    number = 0
    while True:
        number += 1
        with _explained(name, "XLSX", error):
            cells = next(rows, None)
        if cells is None:
            return
        if number > SHEET_ROWS:
            raise error(name, f"more than {SHEET_ROWS:,} rows, which no sheet can have", "save it anew")
        if any(cell is not None and cell != "" for cell in cells):
            yield number, cells


@contextmanager
def _open_parquet(name: str, error: type[InputError]) -> Iterator[Table]:
    try:
        import pyarrow.parquet as pq
    except ImportError as e:
        raise MissingExtraError(f"{name}: Parquet needs pyarrow", EXTRA) from e
    with _explained(name, "Parquet", error):
        file = pq.ParquetFile(name)
    done = 0

    def rows() -> Iterator[tuple[int, Cells]]:
        nonlocal done
        batches = file.iter_batches(_BATCH_ROWS)
        while True:
            with _explained(name, "Parquet", error):
                batch = next(batches, None)
                columns = [column.to_pylist() for column in batch.columns] if batch is not None else []
            if batch is None:
                return
            for cells in zip(*columns, strict=True):
                done += 1
                yield done, cells

    with closing(file):
        count = file.metadata.num_rows
        header = _names(file.schema_arrow.names)
        yield Table(header, rows(), "", "", lambda: min(1.0, done / count) if count else None)


@contextmanager
def _explained(name: str, what: str, error: type[InputError]) -> Iterator[None]:
    """Turns any exception of a library for a broken file into one line."""
    try:
        yield
    except IrrError:
        raise
    except Exception as e:
        raise error(name, f"not {what} ({_first_line(e)})", "save it anew") from e


def _first_line(e: Exception) -> str:
    return (str(e).strip() or type(e).__name__).splitlines()[0][:200]


def _names(header: Iterable[Any]) -> tuple[str, ...]:
    """The names of columns; an empty one gets a number, and a repeated one stays."""
    cells = list(header)
    while cells and cells[-1] in (None, ""):
        cells.pop()
    named = (str(cell).strip() if cell is not None else "" for cell in cells)
    return tuple(name or f"column {number}" for number, name in enumerate(named, 1))


def plain(value: Any) -> Any:
    """A cell as JSON has it: missing values and NaN become None, dates become text."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case datetime() | date() | time():
            return None if type(value).__name__ == "NaTType" else value.isoformat()
        case Decimal():
            number = float(value)
            return plain(int(value) if number.is_integer() else number)
        case bytes():
            return value.decode("utf-8", "replace")
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas' missing values
        return None
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return plain(value.tolist())
    return str(value)
