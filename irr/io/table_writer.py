"""Tables out: records as CSV, TSV, XLSX or Parquet, one row each, in order."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from irr.errors import OutputError
from irr.io.columns import BETWEEN
from irr.io.streams import ending, import_extra, is_compressed
from irr.io.tables import SHEET_ROWS, TABLES

# Characters that XML, and so XLSX, cannot hold.
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LONGEST_CELL = 32_767
_BATCH_ROWS = 1_024
_PACKAGES = {".xlsx": "openpyxl", ".parquet": "pyarrow.parquet"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableColumn:
    """A column of a table that is written.

    Attributes:
        name: Its name.
        value: Takes its value from a record.
        items: The type of the members, str or float, where values are lists; None for other values.
    """

    name: str
    value: Callable[[Mapping[str, Any]], Any]
    items: type | None = None


def is_table(output: str | Path) -> bool:
    """Whether an output is written as a table."""
    return ending(output) in TABLES


def check_format(output: str) -> None:
    """Checks, before any work, that the format of an output can be written, and its package is installed."""
    if package := _PACKAGES.get(ending(output)):
        if is_compressed(Path(output)):
            raise OutputError(output, f"{ending(output)} is compressed already", "leave the last ending out")
        import_extra(package, output)


def write_table(
    columns: Sequence[TableColumn],
    records: Callable[[], Iterable[Mapping[str, Any]]],
    output: Path,
    target: BinaryIO,
    separator: str = "",
) -> None:
    """Writes records as a table.

    Members of a list stand between `|`; Parquet has lists. In XLSX, cells are cut at 32,767 characters, and a
    message says how many were. A CSV file with semicolons begins with a byte order mark, as Excel expects.

    Args:
        columns: The columns.
        records: Gives the records; called twice for Parquet, whose types are those of the values.
        output: The table's name; its ending says its format.
        target: The file to write.
        separator: Between the cells of a CSV file.

    Raises:
        OutputError: If the format cannot hold so many rows.
    """

    def rows() -> Iterator[list[Any]]:
        for record in records():
            yield [column.value(record) for column in columns]

    header = [column.name for column in columns]
    match ending(output):
        case ".xlsx":
            _write_xlsx(header, rows(), output, target)
        case ".parquet":
            _write_parquet(columns, rows, target)
        case suffix:
            _write_csv(header, rows(), target, "\t" if suffix == ".tsv" else separator or ",")


def _flat(value: Any) -> Any:
    """A value in the form of one cell."""
    if isinstance(value, list) and all(isinstance(item, str | int | float | None) for item in value):
        return BETWEEN.join(f"{item:.4f}" if isinstance(item, float) else str(item) for item in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _write_csv(header: Sequence[str], rows: Iterable[list[Any]], target: BinaryIO, separator: str) -> None:
    encoding = "utf-8-sig" if separator == ";" else "utf-8"
    text = io.TextIOWrapper(target, encoding, errors="replace", newline="", write_through=True)
    writer = csv.writer(text, delimiter=separator, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_flat(cell) for cell in cells] for cells in rows)
    text.flush()
    text.detach()


def _write_xlsx(header: Sequence[str], rows: Iterable[list[Any]], output: Path, target: BinaryIO) -> None:
    import openpyxl
    from openpyxl.cell import WriteOnlyCell

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("labels")
    cut = 0

    def cell(value: Any) -> Any:
        nonlocal cut
        value = _flat(value)
        if not isinstance(value, str):
            # Excel keeps 15 digits of a number.
            return value if not isinstance(value, int) or abs(value) < 10**15 else str(value)
        cut += len(value) > _LONGEST_CELL
        one = WriteOnlyCell(sheet, _NOT_IN_XML.sub("\ufffd", value)[:_LONGEST_CELL])
        one.data_type = "s"  # so that a text beginning with "=" is not a formula
        return one

    sheet.append([cell(name) for name in header])
    for number, cells in enumerate(rows, 2):
        if number > SHEET_ROWS:
            problem = f"a sheet holds at most {SHEET_ROWS:,} rows; the rows so far are kept"
            raise OutputError(output, problem, "name an output that ends in .csv or .parquet")
        sheet.append([cell(value) for value in cells])
    book.save(target)
    if cut:
        message = "%s: %s cells were cut at %s characters, the most in a sheet: write .csv to keep all"
        logger.warning(message, output, f"{cut:,}", f"{_LONGEST_CELL:,}")


def _write_parquet(
    columns: Sequence[TableColumn], rows: Callable[[], Iterator[list[Any]]], target: BinaryIO
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: list[set[type]] = [set() for _ in columns]
    for cells in rows():
        for kind, value in zip(kinds, cells, strict=True):
            kind.add(type(value))
    text, number = pa.string(), pa.float64()
    one_of = (({bool}, pa.bool_()), ({int}, pa.int64()), ({int, float}, number))
    fields = []
    for column, kind in zip(columns, kinds, strict=True):
        found = kind - {type(None)}
        scalar = next((arrow for types, arrow in one_of if found and found <= types), text)
        items = number if column.items is float else text if column.items else None
        fields.append(pa.field(column.name, pa.list_(items) if items else scalar))
    schema = pa.schema(fields)

    def as_text(flat: Any) -> str:
        return flat if isinstance(flat, str) else json.dumps(flat)

    def array(values: Sequence[Any], field: Any) -> Any:
        if field.type == text:
            values = [value if isinstance(value, str | None) else as_text(_flat(value)) for value in values]
        return pa.array(values, field.type)

    with pq.ParquetWriter(target, schema) as writer:
        left = rows()
        while block := list(islice(left, _BATCH_ROWS)):
            by_column = zip(*block, strict=True)
            arrays = [array(values, field) for values, field in zip(by_column, fields, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema))
