"""Rows as JSONL, CSV, TSV, XLSX and Parquet files."""

from __future__ import annotations

import csv
import io
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from typing import Any
from xml.sax.saxutils import escape

from eval.fuzz.damage import entities, torn
from eval.fuzz.values import Row, as_json

Writer = Callable[[random.Random, Sequence[Row]], bytes]


def jsonl(draw: random.Random, rows: Sequence[Row]) -> bytes:
    """JSON lines: with the marks, line ends and blanks that writers leave."""
    end = draw.choice(("\n", "\n", "\r\n", "\n\n"))
    ascii_only = draw.random() < 0.5
    text = end.join(as_json(row, ascii_only) for row in rows) + draw.choice((end, ""))
    if draw.random() < 0.03:
        text = "[" * 50_000 + text
    return text.encode(draw.choice(("utf-8",) * 8 + ("utf-8-sig", "utf-16")), "surrogatepass")


def table(draw: random.Random, rows: Sequence[Row]) -> list[list[Any]]:
    """The rows as a table with a header, in the words of spreadsheets."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    titles = [draw.choice((key, key, key, key.upper(), f" {key}")) for key in keys]
    cells = [
        ["|".join(map(str, v)) if isinstance(v := row.get(key), list) else v for key in keys] for row in rows
    ]
    if draw.random() < 0.1:
        draw.choice(cells).append("one too many")
    return [titles, *cells]


def separated(draw: random.Random, rows: Sequence[Row]) -> bytes:
    """CSV or TSV, in a writer's encoding."""
    out = io.StringIO()
    quoting: Any = draw.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    writer = csv.writer(
        out, delimiter=draw.choice(",,,;\t|"), quoting=quoting, lineterminator=draw.choice(("\n", "\r\n"))
    )
    for line in table(draw, rows):
        writer.writerow(["" if cell is None else cell for cell in line])
    encoding = draw.choice(("utf-8",) * 6 + ("utf-8-sig", "utf-16", "cp1252", "latin-1"))
    return out.getvalue().encode(encoding, "replace")


def xlsx(draw: random.Random, rows: Sequence[Row]) -> bytes:
    """A workbook, made by hand so that its parts can be wrong one by one."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    lines = "".join(
        f'<row r="{number}">{"".join(_cell(draw, cell) for cell in line)}</row>'
        for number, line in enumerate(table(draw, rows), 1)
    )
    doctype = draw.choice(
        ("",) * 8 + ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>', entities())
    )
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="xml" '
        'ContentType="application/xml"/><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override '
        'PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.'
        'spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="'
        'application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="s" '
        'sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship '
        f'Id="r1" Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'{doctype}<worksheet xmlns="{main}"><sheetData>{lines}</sheetData>'
        "</worksheet>",
    }
    if draw.random() < 0.1:
        parts.pop(draw.choice(list(parts)))
    if draw.random() < 0.1:
        name = draw.choice(list(parts))
        parts[name] = torn(draw, parts[name].encode("utf-8", "replace")).decode("utf-8", "replace")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part.encode("utf-8", "replace"))
    return out.getvalue()


def _cell(draw: random.Random, content: Any) -> str:
    if isinstance(content, bool) or content is None:
        return "<c/>" if content is None else f'<c t="b"><v>{int(content)}</v></c>'
    if isinstance(content, int | float) and draw.random() < 0.8:
        return f"<c><v>{str(content)[:400]}</v></c>"
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(str(content))}</t></is></c>'


def parquet(draw: random.Random, rows: Sequence[Row]) -> bytes:
    """A Parquet file: lists as lists, what has no one type as JSON."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        cells = [row.get(key) for row in rows]
        try:
            column = pa.array(cells)
            if pa.types.is_struct(column.type):
                raise pa.ArrowNotImplementedError
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            column = pa.array([json.dumps(cell) for cell in cells])
        columns[key.encode("utf-8", "replace").decode()] = column
    out = io.BytesIO()
    try:
        pq.write_table(pa.table(columns), out, compression=draw.choice(("none", "snappy", "zstd")))
    except pa.ArrowException:  # a list of records without a key has no form in Parquet
        pq.write_table(pa.table({"id": ["1"], "name": ["bread"], "text": ["bread"]}), out)
    return out.getvalue()


def names(draw: random.Random, rows: Sequence[Row]) -> bytes:
    """One name a line."""
    return "\n".join(str(row.get("name")) for row in rows).encode("utf-8", "replace")


TABLES: dict[str, Writer] = {
    ".jsonl": jsonl,
    ".csv": separated,
    ".tsv": separated,
    ".xlsx": xlsx,
    ".parquet": parquet,
}
LABELS: dict[str, Writer] = {**TABLES, ".txt": names}
