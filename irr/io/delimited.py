"""CSV and TSV in: detects encoding and separator, and yields rows of cells with line numbers."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from itertools import chain, islice

from irr.errors import InputError
from irr.io.streams import LONGEST_LINE, Source

_SAMPLE_BYTES = 2**20
_SAMPLE_ROWS = 50
_SEPARATORS = ",;\t|"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Encodings that spreadsheets write besides UTF-8 and UTF-16; the first is the default.
_CODE_PAGES = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "shift_jis", "gb18030", "big5"]
# The highest share of accented letters in lines of a Western language that have any.
_MOST_ACCENTED = 0.4
# Signs that follow no letter in a Western language, and bytes that its code page lacks.
_NO_WORD = re.compile("[^\\W\\d_][¡¢£¤¥¦¨¬¯±³´¶¹¿¼¾]|\ufffd")


class Delimited:
    """The rows of a CSV or TSV file, the first of which names the columns.

    Args:
        source: Its bytes.
        separator: The separator of cells; detected if "".

    Attributes:
        encoding: The encoding.
        separator: The separator of cells.

    Raises:
        InputError: As the source's error, if it is not text.
    """

    def __init__(self, source: Source, separator: str = "") -> None:
        self._source = source
        sample = source.read(_SAMPLE_BYTES)
        self.encoding = detect_encoding(sample)
        if b"\x00" in sample and not self.encoding.startswith(("utf-16", "utf-32")):
            raise source.error(source.name, "not text: it holds zero bytes", "give a CSV file")
        self._lines = self._decoded(sample)
        first = next(self._lines, "")
        # Excel may write a first line that names the separator.
        if first.lower().startswith("sep=") and len(first.strip("\r\n")) == 5:
            separator, first = first[4], ""
        head = [first, *islice(self._lines, _SAMPLE_ROWS)]
        self._lines = chain(head if first else head[1:], self._lines)
        self.separator = separator or detect_separator(head)

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        csv.field_size_limit(LONGEST_LINE)
        reader = csv.reader(self._lines, delimiter=self.separator, strict=True)
        try:
            for cells in reader:
                if any(cells):
                    yield reader.line_num, cells
        except csv.Error as e:
            raise self._error(f"not CSV ({e})", "quote the cell, and double each quote in it", reader) from e

    def _error(self, problem: str, hint: str, reader: object) -> InputError:
        number = getattr(reader, "line_num", 0)
        return self._source.error(self._source.name, problem, hint, max(1, number))

    def _decoded(self, chunk: bytes) -> Iterator[str]:
        """Lines with their ends; these are CR, LF or both."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        rest = ""
        while chunk:
            following = self._source.read(_SAMPLE_BYTES)
            try:
                text = rest + decoder.decode(chunk, final=not following)
            except UnicodeDecodeError as e:
                problem = f"not {self.encoding} throughout"
                hint = "save the file with UTF-8 encoding"
                raise self._source.error(self._source.name, problem, hint) from e
            if len(text) > 2 * LONGEST_LINE:
                raise self._source.error(
                    self._source.name, f"longer than {LONGEST_LINE:,} characters", "write one row a line"
                )
            # The last line may go on in the next chunk, and a CR there may be half of a line end.
            *lines, rest = [*io.StringIO(text, newline="")] or [""]
            yield from lines
            chunk = following
        yield from [rest] if rest else []


def detect_encoding(sample: bytes) -> str:
    """The encoding of a text by its beginning: a byte order mark, UTF-16 by its zeros, UTF-8, a code page."""
    for mark, encoding in _MARKS:
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
    from charset_normalizer import from_bytes

    # Only bytes outside ASCII tell code pages apart.
    lines = [line for line in sample.splitlines() if not line.isascii()][:2_000]
    western = b"\n".join(lines).decode(_CODE_PAGES[0], "replace")
    letters = [c for c in western if c.isalpha()]
    accented = sum(not c.isascii() for c in letters)
    if accented <= _MOST_ACCENTED * len(letters) and not _NO_WORD.search(western):
        return _CODE_PAGES[0]
    found = from_bytes(b"\n".join(lines), cp_isolation=_CODE_PAGES, preemptive_behaviour=False)
    best = found.best()
    as_good = [match for match in found if best and match.chaos <= best.chaos]
    names = [name for match in as_good for name in match.could_be_from_charset]
    return best.encoding if best and _CODE_PAGES[0] not in names else _CODE_PAGES[0]


def detect_separator(lines: list[str]) -> str:
    """The separator that gives the most lines the same number of cells, at least two."""

    def score(separator: str) -> tuple[float, int]:
        try:
            rows = [row for row in csv.reader(lines, delimiter=separator) if row]
        except csv.Error:
            return 0.0, 0
        width = len(rows[0]) if rows else 0
        return (sum(len(row) == width for row in rows) / len(rows), width) if width > 1 else (0.0, 0)

    best = max(_SEPARATORS, key=score)
    return best if score(best)[1] else ","
