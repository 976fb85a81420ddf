"""Tables out: answers in JSONL, written as CSV, TSV, XLSX or Parquet."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from irr.errors import MissingExtraError, OutputError
from irr.io.records import BETWEEN
from irr.io.streams import compressor, ending, is_compressed
from irr.io.tables import EXTRA, SHEET_ROWS, TABLES

# The columns by name, each with the function that takes its value from an answer.
Columns: TypeAlias = dict[str, Callable[[dict[str, Any]], Any]]

_LISTS = {"labels": "id", "names": "name", "scores": "score", "probabilities": "probability"}
# Characters that XML, and so XLSX, cannot hold.
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LONGEST_CELL = 32_767
_BATCH_ROWS = 1_024

logger = logging.getLogger(__name__)


def check_table(output: str) -> None:
    """Checks that the packages for an output's format are installed.

    Raises:
        MissingExtraError: If its format needs a package that is not installed.
    """
    try:
        match ending(output):
            case ".xlsx":
                import openpyxl  # noqa: F401
            case ".parquet":
                import pyarrow.parquet  # noqa: F401
    except ImportError as e:
        raise MissingExtraError(f"{output} needs {e.name}", EXTRA) from e


def is_table(output: str | Path) -> bool:
    """Whether an output is written as a table."""
    return ending(output) in TABLES


def write_table(rows: Path, output: Path, target: BinaryIO, separator: str = "") -> None:
    """Writes rows of answers as a table: one row each, in order.

    The columns are `id`, `labels`, `names` and `scores` (the best label first), `error`, and the other
    columns of the input. Members of a cell stand between `|`; Parquet has lists. In XLSX, cells are cut at
    32,767 characters, and a message says how many were.

    Args:
        rows: The answers as JSONL.
        output: The table's name; its ending says its format.
        target: The file to write.
        separator: Between the cells of a CSV file; with a semicolon, the file begins with a byte order mark,
            as Excel expects.

    Raises:
        OutputError: If the format cannot hold so many rows.
    """
    header = _header(rows)
    match ending(output):
        case ".xlsx":
            _write_xlsx(header, rows, output, target)
        case ".parquet":
            _write_parquet(header, rows, target)
        case suffix:
            separator = "\t" if suffix == ".tsv" else separator or ","
            if is_compressed(output):
                with compressor(target, output.suffix) as packed:
                    _write_delimited(header, rows, packed, separator)
            else:
                _write_delimited(header, rows, target, separator)


def _answers(rows: Path) -> Iterator[dict[str, Any]]:
    with rows.open("rb") as file:
        for line in file:
            yield json.loads(line)


def _header(rows: Path) -> Columns:
    """The columns that these answers need."""
    others: dict[str, None] = {}
    probable = abstained = fallbacks = False
    for answer in _answers(rows):
        others.update(dict.fromkeys(answer.get("meta", ())))
        probable = probable or any("probability" in label for label in answer["labels"])
        abstained = abstained or "abstained" in answer
        fallbacks = fallbacks or "fallbacks" in answer
    header: Columns = {"id": lambda answer: answer["id"]}
    for name, key in _LISTS.items():
        if name != "probabilities" or probable:
            header[name] = partial(_of_labels, key)
    if abstained:
        header["abstained"] = lambda answer: bool(answer.get("abstained"))
    header["error"] = lambda answer: answer["error"] and answer["error"]["message"]
    if fallbacks:
        header["fallbacks"] = lambda answer: [one["stage"] for one in answer.get("fallbacks", ())]
    for name in others:
        key = name
        while key in header:
            key += "_"
        header[key] = partial(_of_meta, name)
    return header


def _of_labels(key: str, answer: dict[str, Any]) -> list[Any]:
    return [label.get(key) for label in answer["labels"]]


def _of_meta(name: str, answer: dict[str, Any]) -> Any:
    return answer.get("meta", {}).get(name)


def _cells(header: Columns, rows: Path) -> Iterator[list[Any]]:
    for answer in _answers(rows):
        yield [of(answer) for of in header.values()]


def _flat(value: Any) -> Any:
    """A value in the form of one cell."""
    if isinstance(value, list) and all(isinstance(item, str | int | float | None) for item in value):
        return BETWEEN.join(f"{item:.4f}" if isinstance(item, float) else str(item) for item in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _write_delimited(header: Columns, rows: Path, target: Any, separator: str) -> None:
    encoding = "utf-8-sig" if separator == ";" else "utf-8"
    text = io.TextIOWrapper(target, encoding, errors="replace", newline="", write_through=True)
    writer = csv.writer(text, delimiter=separator, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_flat(cell) for cell in cells] for cells in _cells(header, rows))
    text.flush()
    text.detach()


def _write_xlsx(header: Columns, rows: Path, output: Path, target: BinaryIO) -> None:
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
    for number, cells in enumerate(_cells(header, rows), 2):
        if number > SHEET_ROWS:
            problem = f"a sheet holds at most {SHEET_ROWS:,} rows; the answers are kept in {rows.name}"
            raise OutputError(output, problem, "name an output that ends in .csv or .parquet")
        sheet.append([cell(value) for value in cells])
    book.save(target)
    if cut:
        logger.warning(
            "%s: %s cells were cut at %s characters, the most in a sheet: write .csv to keep all",
            output,
            f"{cut:,}",
            f"{_LONGEST_CELL:,}",
        )


def _write_parquet(header: Columns, rows: Path, target: BinaryIO) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: list[set[type]] = [set() for _ in header]
    for cells in _cells(header, rows):
        for kind, value in zip(kinds, cells, strict=True):
            kind.add(type(value))
    text, number = pa.string(), pa.float64()
    lists = {"labels": text, "names": text, "scores": number, "probabilities": number, "fallbacks": text}
    one_of: tuple[tuple[set[type], Any], ...] = (
        ({bool}, pa.bool_()),
        ({int}, pa.int64()),
        ({int, float}, number),
    )
    fields = []
    for name, kind in zip(header, kinds, strict=True):
        found = kind - {type(None)}
        plain = next((arrow for types, arrow in one_of if found and found <= types), text)
        fields.append(pa.field(name, pa.list_(lists[name]) if name in lists else plain))
    schema = pa.schema(fields)

    def column(values: Sequence[Any], field: Any) -> Any:
        if field.type == text:
            values = [v if v is None or isinstance(v, str) else _as_text(v) for v in values]
        return pa.array(values, field.type)

    with pq.ParquetWriter(target, schema) as writer:
        block: list[list[Any]] = []

        def write() -> None:
            columns = zip(*block, strict=True)
            arrays = [column(values, field) for values, field in zip(columns, fields, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema))
            block.clear()

        for cells in _cells(header, rows):
            block.append(cells)
            if len(block) == _BATCH_ROWS:
                write()
        if block:
            write()


def _as_text(value: Any) -> str:
    flat = _flat(value)
    return flat if isinstance(flat, str) else json.dumps(flat)
