"""Tables in and out as CSV, TSV, XLSX and Parquet: a header, and rows of cells, which are read one by one."""

from __future__ import annotations

import codecs
import csv
import io
import json
import logging
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Generic, NamedTuple, TypeAlias, TypeVar

from irr.errors import InputError, IrrError, OutputError
from irr.io.columns import BETWEEN
from irr.io.streams import COMPRESSED, LONGEST_LINE, Source, ending, import_extra, open_source

# The most rows of a sheet; a broken file may claim more.
_SHEET_ROWS = 2**20
_SAMPLE_BYTES = 2**20
_SAMPLE_ROWS = 50
_SEPARATORS = ",;\t|"
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    **dict.fromkeys((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "utf-32"),  # begins as the mark of UTF-16
    **dict.fromkeys((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "utf-16"),
}
# Encodings that spreadsheets write besides UTF-8 and UTF-16; the first is the default.
_CODE_PAGES = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "shift_jis", "gb18030", "big5"]
# The highest share of accented letters in lines of a Western language that have any.
_MOST_ACCENTED = 0.4
# Signs that follow no letter in a Western language, and bytes that its code page lacks.
_NO_WORD = re.compile("[^\\W\\d_][¡¢£¤¥¦¨¬¯±³´¶¹¿¼¾]|\ufffd")

# Characters that XML, and so XLSX, cannot hold.
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LONGEST_CELL = 32_767
# Rows that are in memory together: of a Parquet input, whose texts may be long, and of an output.
_BATCH_ROWS, _BLOCK_ROWS = 256, 1_024
_PACKAGES = {".xlsx": "openpyxl", ".parquet": "pyarrow.parquet"}

logger = logging.getLogger(__name__)

Content = TypeVar("Content")
NumberedCells: TypeAlias = Iterator[tuple[int, Sequence[Any]]]


@dataclass(frozen=True)
class RowStream(Generic[Content]):
    """The rows of an input, which are read once: their numbers, as the format counts them, and content.

    Attributes:
        share: The share that has been read, in [0, 1]; None if that is unknown.
        header: The names of a table's columns; an empty one is replaced by a number.
        found: The detected properties, in words.
        separator: The separator of CSV cells; "" in other formats.
    """

    name: str
    rows: Iterator[tuple[int, Content]]
    share: Callable[[], float | None] = lambda: None
    header: tuple[str, ...] = ()
    found: str = ""
    separator: str = ""


Table: TypeAlias = RowStream[Sequence[Any]]


@contextmanager
def open_table(name: str, error: type[InputError], held: bool = False) -> Iterator[Table]:
    """Opens a table; its ending, one of `TABLES`, says its format. If rows are `held`, a bomb is refused."""
    with open_source(name, held, error) as source, ExitStack() as stack:
        yield TABLES[ending(name)](source, stack)


def _names(header: Iterable[Any]) -> tuple[str, ...]:
    cells = ["" if cell is None else str(cell) for cell in header]
    while cells and not cells[-1]:
        cells.pop()
    return tuple(cell.strip() or f"column {number}" for number, cell in enumerate(cells, 1))


def _open_csv(source: Source, _stack: ExitStack, separator: str = "") -> Table:
    sample = source.read(_SAMPLE_BYTES)
    encoding = detect_encoding(sample)
    if b"\x00" in sample and not encoding.startswith(("utf-16", "utf-32")):
        raise source.error(source.name, "not text: it holds zero bytes", "give a CSV file")
    lines = _decoded(source, sample, encoding)
    head = list(islice(lines, _SAMPLE_ROWS))
    # Excel may write a first line that names the separator.
    if head and head[0].lower().startswith("sep=") and len(head[0].strip("\r\n")) == 5:
        separator = head.pop(0)[4]
    separator = separator or _detect_separator(head)
    rows = _csv_rows(source, chain(head, lines), separator)
    _, header = next(rows, (1, []))
    shown = "tab" if separator == "\t" else f'"{separator}"'
    found = f"separator {shown}, encoding {encoding}; "
    return RowStream(source.name, rows, lambda: source.share, _names(header), found, separator)


def _csv_rows(source: Source, lines: Iterator[str], separator: str) -> NumberedCells:
    csv.field_size_limit(LONGEST_LINE)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as e:
        hint = "quote the cell, and double each quote in it"
        raise source.error(source.name, f"not CSV ({e})", hint, max(1, reader.line_num)) from e


def _decoded(source: Source, chunk: bytes, encoding: str) -> Iterator[str]:
    """Lines with their ends; these are CR, LF or both."""
    decoder = codecs.getincrementaldecoder(encoding)()
    rest = ""
    while chunk:
        following = source.read(_SAMPLE_BYTES)
        try:
            text = rest + decoder.decode(chunk, final=not following)
        except UnicodeDecodeError as e:
            hint = "save the file with UTF-8 encoding"
            raise source.error(source.name, f"not {encoding} throughout", hint) from e
        if len(text) > 2 * LONGEST_LINE:
            problem = f"longer than {LONGEST_LINE:,} characters"
            raise source.error(source.name, problem, "write one row a line")
        # The last line may go on in the next chunk, and a CR there may be half of a line end.
        *lines, rest = [*io.StringIO(text, newline="")] or [""]
        yield from lines
        chunk = following
    yield from [rest] if rest else []


def detect_encoding(sample: bytes) -> str:
    """The encoding of a text by its beginning: a byte order mark, UTF-16 by its zeros, UTF-8, a code page."""
    for mark, encoding in _MARKS.items():
        if sample.startswith(mark):
            return encoding
    if b"\x00" in sample[:4096]:
        even, odd = sample[:4096:2].count(0), sample[1:4096:2].count(0)
        if max(even, odd) > 4 * min(even, odd):
            return "utf-16-le" if odd > even else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
        return "utf-8"
    except UnicodeDecodeError:
        return _code_page(sample)


def _code_page(sample: bytes) -> str:
    # Only bytes outside ASCII tell code pages apart.
    lines = [line for line in sample.splitlines() if not line.isascii()][:2_000]
    western = b"\n".join(lines).decode(_CODE_PAGES[0], "replace")
    letters = [c for c in western if c.isalpha()]
    accented = sum(not c.isascii() for c in letters)
    if accented <= _MOST_ACCENTED * len(letters) and not _NO_WORD.search(western):
        return _CODE_PAGES[0]
    from_bytes = import_extra("charset_normalizer", "a table that is not in UTF-8").from_bytes
    found = from_bytes(b"\n".join(lines), cp_isolation=_CODE_PAGES, preemptive_behaviour=False)
    best = found.best()
    as_good = [match for match in found if best and match.chaos <= best.chaos]
    names = [name for match in as_good for name in match.could_be_from_charset]
    return best.encoding if best and _CODE_PAGES[0] not in names else _CODE_PAGES[0]


def _detect_separator(lines: list[str]) -> str:
    """The separator that gives the most lines the same number of cells, at least two."""

    def score(separator: str) -> tuple[float, int]:
        try:
            rows = [row for row in csv.reader(lines, delimiter=separator) if row]
        except csv.Error:
            return 0.0, 0
        width = len(rows[0]) if rows else 0
        return (sum(len(row) == width for row in rows) / len(rows), width) if width > 1 else (0.0, 0)

    return max(_SEPARATORS, key=score)


def _open_xlsx(source: Source, stack: ExitStack) -> Table:
    openpyxl = import_extra("openpyxl", source.name)
    with _explained(source, "XLSX"):
        with zipfile.ZipFile(source.name) as packed:
            parts = packed.infolist()
        source.refuse_bomb(sum(part.file_size for part in parts), sum(part.compress_size for part in parts))
        book = openpyxl.load_workbook(source.name, read_only=True, data_only=True)
        stack.enter_context(closing(book))
        sheet = next((sheet for sheet in book.worksheets if sheet.sheet_state == "visible"), None)
        if sheet is None:
            raise source.error(source.name, "all sheets are hidden", "show the sheet with the table")
        sheet.reset_dimensions()  # the size in the file may be wrong
    rows = _sheet_rows(source, sheet.iter_rows(values_only=True))
    _, header = next(rows, (1, ()))
    found = f'sheet "{sheet.title}"; ' if len(book.worksheets) > 1 else ""
    return RowStream(source.name, rows, header=_names(header), found=found)


def _sheet_rows(source: Source, rows: Iterable[Sequence[Any]]) -> NumberedCells:
    with _explained(source, "XLSX"):
        for number, cells in enumerate(rows, 1):
            if number > _SHEET_ROWS:
                raise source.error(source.name, f"more than {_SHEET_ROWS:,} rows", "save it anew")
            if any(cell is not None and cell != "" for cell in cells):
                yield number, cells


def _open_parquet(source: Source, stack: ExitStack) -> Table:
    parquet = import_extra("pyarrow.parquet", source.name)
    with _explained(source, "Parquet"):
        file = stack.enter_context(closing(parquet.ParquetFile(source.name)))
    count, done = file.metadata.num_rows, 0

    def rows() -> NumberedCells:
        nonlocal done
        with _explained(source, "Parquet"):
            for batch in file.iter_batches(_BATCH_ROWS):
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    done += 1
                    yield done, cells

    header = _names(file.schema_arrow.names)
    return RowStream(source.name, rows(), lambda: min(1.0, done / count) if count else None, header)


@contextmanager
def _explained(source: Source, what: str) -> Iterator[None]:
    """Turns any exception of a library for a broken file into one line."""
    try:
        yield
    except IrrError:
        raise
    except Exception as e:
        reason = (str(e).strip() or type(e).__name__).splitlines()[0][:200]
        raise source.error(source.name, f"not {what} ({reason})", "save it anew") from e


# The formats of tables by ending, each with the function that opens it.
TABLES: dict[str, Callable[[Source, ExitStack], Table]] = {
    ".csv": _open_csv,
    ".tsv": partial(_open_csv, separator="\t"),
    ".xlsx": _open_xlsx,
    ".parquet": _open_parquet,
}


class TableColumn(NamedTuple):
    """A column of a table: `value` takes it from a record; `items` is the type of a list's members."""

    name: str
    value: Callable[[Mapping[str, Any]], Any]
    items: type | None = None


def check_format(output: str) -> None:
    """Checks, before any work, that the format of an output can be written, and its package is installed."""
    if package := _PACKAGES.get(ending(output)):
        if output.endswith(COMPRESSED):
            raise OutputError(output, f"{ending(output)} is compressed already", "leave the last ending out")
        import_extra(package, output)


def write_table(
    columns: Sequence[TableColumn],
    records: Callable[[], Iterable[Mapping[str, Any]]],
    output: Path,
    target: BinaryIO,
    separator: str = "",
) -> None:
    """Writes records as a table, in the format that the ending of `output` says.

    Members of a list stand between `|`; Parquet has lists. A CSV file with semicolons begins with a byte
    order mark, as Excel expects. Parquet, whose types are those of the values, calls `records` twice.
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
    """Writes a sheet; logs how many cells were cut at the most characters that a cell can hold."""
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
        if number > _SHEET_ROWS:
            problem = f"a sheet holds at most {_SHEET_ROWS:,} rows; the rows so far are kept"
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
            if value is not None:
                kind.add(type(value))
    arrow_types = {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}

    def arrow_type(column: TableColumn, kind: set[type]) -> Any:
        if column.items:
            return pa.list_(arrow_types[column.items])
        scalar = float if kind == {int, float} else next(iter(kind)) if len(kind) == 1 else str
        return arrow_types.get(scalar, pa.string())

    def array(values: Sequence[Any], kind: Any) -> Any:
        if kind == pa.string():
            flat = [None if value is None else _flat(value) for value in values]
            values = [cell if isinstance(cell, str | None) else json.dumps(cell) for cell in flat]
        return pa.array(values, kind)

    types = list(map(arrow_type, columns, kinds))
    schema = pa.schema(list(zip([column.name for column in columns], types, strict=True)))
    with pq.ParquetWriter(target, schema) as writer:
        left = rows()
        while block := list(islice(left, _BLOCK_ROWS)):
            arrays = list(map(array, zip(*block, strict=True), types))
            writer.write_table(pa.table(arrays, schema=schema))
