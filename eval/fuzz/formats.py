"""Rows as files: JSONL, CSV, TSV, XLSX, Parquet, SKOS, TOML; and bytes torn, packed and blown up."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import sys
import zipfile
from collections.abc import Callable, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from eval.fuzz.values import Row, as_json, string, value, words

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Writer = Callable[[random.Random, Sequence[Row]], bytes]
# What a bomb comes to when it is unpacked.
_BOMB_BYTES = 3 * 2**30


def torn(draw: random.Random, content: bytes) -> bytes:
    """The same bytes with some cut, flipped, doubled or put in."""
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(content) + 1)
        length = draw.choice((1, 4, 40, len(content) // 2))
        match draw.randrange(5):
            case 0:
                content = content[:at]
            case 1:
                content = content[:at] + draw.randbytes(min(length, 40)) + content[at:]
            case 2:
                content = content[:at] + content[at + length :]
            case 3:
                content = content[:at] + content[at : at + length] + content[at:]
            case _:
                flipped = bytes(b ^ (1 << draw.randrange(8)) for b in content[at : at + min(length, 4)])
                content = content[:at] + flipped + content[at + len(flipped) :]
    return content


def packed(draw: random.Random, content: bytes, suffix: str) -> bytes:
    """What a `.gz` or `.zst` file of these bytes holds: sometimes torn, or plain."""
    if draw.random() < 0.15:
        return content
    made = gzip.compress(content, 1) if suffix == ".gz" else zstd.compress(content)
    return torn(draw, made) if draw.random() < 0.3 else made


def bomb(suffix: str, line: bytes) -> bytes:
    """Some kilobytes that unpack to gigabytes: of zeros, or of one line again and again."""
    chunk = (line or b"\0") * (2**20 // max(1, len(line)))
    out = io.BytesIO()
    packer: Any = (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) if suffix == ".gz" else zstd.ZstdFile(out, "w")
    )
    with packer:
        for _ in range(_BOMB_BYTES // len(chunk)):
            packer.write(chunk)
    return out.getvalue()


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
    doctype = draw.choice(("",) * 8 + ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>', _laughs()))
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


def _laughs() -> str:
    levels = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    return f'<!DOCTYPE x [<!ENTITY l0 "ha">{levels}]>'


_SKOS = "http://www.w3.org/2004/02/skos/core#"
_PROPERTIES = (
    "prefLabel",
    "altLabel",
    "hiddenLabel",
    "definition",
    "broader",
    "narrower",
    "inScheme",
    "notation",
)
Triple = tuple[
    str, str, str, str | None
]  # subject, property, value, language; None where the value is an address


def _address(draw: random.Random, identifier: object) -> str:
    plain = "".join(c for c in str(identifier) if c.isalnum())[:40]
    return draw.choice(("http://example.org/", "urn:x:", "http://example.org/a b#")) + plain


def triples(draw: random.Random, rows: Sequence[Row]) -> list[Triple]:
    """The rows as concepts, with languages, hierarchies and odd statements."""
    address = {str(row.get("id")): _address(draw, row.get("id")) for row in rows}
    found: list[Triple] = []
    for row in rows:
        subject = address[str(row.get("id"))]
        found.append((subject, "http://www.w3.org/1999/02/22-rdf-syntax-ns#type", _SKOS + "Concept", None))
        language = draw.choice(("en", "en", "de", "", "x-odd", "en-GB"))
        found.append((subject, _SKOS + "prefLabel", str(row.get("name")), language))
        for name in ("aliases", "description"):
            values = row.get(name) or []
            for content in values if isinstance(values, list) else [values]:
                found.append(
                    (
                        subject,
                        _SKOS + ("altLabel" if name == "aliases" else "definition"),
                        str(content),
                        language,
                    )
                )
        parents = row.get("parents")
        for parent in parents if isinstance(parents, list) else []:
            found.append(
                (subject, _SKOS + "broader", address.get(str(parent), "http://example.org/gone"), None)
            )
        if draw.random() < 0.1:
            found.append((subject, _SKOS + draw.choice(_PROPERTIES), string(draw), draw.choice((None, "en"))))
    return found


def _literal(text: str, language: str) -> str:
    quoted = json.dumps(text, ensure_ascii=True)
    return quoted + (f"@{language}" if language else "")


def ntriples(draw: random.Random, rows: Sequence[Row]) -> bytes:
    """N-Triples."""
    lines = [
        f"<{s}> <{p}> {f'<{o}>' if language is None else _literal(o, language)} ."
        for s, p, o, language in triples(draw, rows)
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def turtle(draw: random.Random, rows: Sequence[Row]) -> bytes:
    """Turtle: prefixes, lists and blank nodes on top of the triples."""
    extra = (
        "@base <file:///etc/> .",
        "[] a skos:Concept ; skos:prefLabel 'blank'@en .",
        "<a> skos:broader <a> .",
        "(1 2 3) a skos:Concept .",
    )
    head = f"@prefix skos: <{_SKOS}> .\n" + "\n".join(draw.sample(extra, draw.randrange(3)))
    deep = "[ skos:broader " * 3_000 if draw.random() < 0.02 else ""
    return f"{head}\n{ntriples(draw, rows).decode()}{deep}".encode()


def rdfxml(draw: random.Random, rows: Sequence[Row]) -> bytes:
    """RDF/XML, at times with entities, includes and stylesheets."""
    concepts: dict[str, list[str]] = {}
    for s, p, o, language in triples(draw, rows)[0:]:
        local = p.rpartition("#")[2]
        if local == "type":
            concepts.setdefault(s, [])
        elif language is None:
            concepts.setdefault(s, []).append(f"<skos:{local} rdf:resource={quoteattr(o)}/>")
        else:
            tag = f" xml:lang={quoteattr(language)}" if language else ""
            concepts.setdefault(s, []).append(f"<skos:{local}{tag}>{escape(o)}</skos:{local}>")
    body = "".join(
        f"<skos:Concept rdf:about={quoteattr(s)}>{''.join(parts)}</skos:Concept>"
        for s, parts in concepts.items()
    )
    heads = (
        "",
        "",
        "",
        _laughs(),
        '<!DOCTYPE x [<!ENTITY f SYSTEM "canary.txt">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<?xml-stylesheet href="http://127.0.0.1:9/x.xsl"?>',
    )
    inside = draw.choice(
        ("",) * 6 + ('<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="canary.txt"/>', "&f;&l9;")
    )
    namespaces = f'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:skos="{_SKOS}"'
    deep = draw.choice(("",) * 30 + ("<skos:broader><skos:Concept>" * 4_000,))
    return f"{draw.choice(heads)}<rdf:RDF {namespaces}>{inside}{body}{deep}</rdf:RDF>".encode(
        "utf-8", "replace"
    )


def jsonld(draw: random.Random, rows: Sequence[Row]) -> bytes:
    """JSON-LD: contexts that are good, nested, of other places, or no context at all."""
    good = {
        "skos": _SKOS,
        "label": {"@id": "skos:prefLabel", "@language": "en"},
        "broader": {"@id": "skos:broader", "@type": "@id"},
    }
    context = draw.choice((good, good, good, [good], [[good]], *_CONTEXTS, value(draw)))
    graph: list[Any] = []
    for row in rows:
        node: Row = {"@id": _address(draw, row.get("id")), "@type": "skos:Concept", "label": row.get("name")}
        node["skos:prefLabel"] = {"@value": row.get("name"), "@language": draw.choice(("en", "de", 3))}
        node["skos:altLabel"] = row.get("aliases") or []
        node["broader"] = (
            [_address(draw, parent) for parent in row["parents"]]
            if isinstance(row.get("parents"), list)
            else value(draw)
        )
        if draw.random() < 0.1:
            node[draw.choice(("@context", "@graph", "@reverse", "@list", "@included", "@type", "@id"))] = (
                draw.choice((*_CONTEXTS, value(draw)))
            )
        graph.append(node)
    document = {"@context": context, "@graph": graph}
    return as_json(document).encode("utf-8", "surrogatepass")


_CONTEXTS: tuple[Any, ...] = (
    "http://127.0.0.1:9/context.jsonld",
    ["file:canary.txt"],
    [["http://127.0.0.1:9/c"]],
    [[["canary.txt"]]],
    {"@import": "http://127.0.0.1:9/c"},
    {"skos": _SKOS, "x": {"@id": "skos:note", "@context": [["canary.txt"]]}},
    {"@vocab": _SKOS, "@base": "file:///etc/", "@version": 1.1, "@propagate": False},
    [None, {"@language": 3}],
)


def toml(draw: random.Random) -> bytes:
    """A task pack: right ones, odd values, and shapes that parsers choke on."""
    task: Row = {
        "title": words(draw),
        "text": "ad",
        "label": "skill",
        "labels": "skills",
        "notes": words(draw),
    }
    infer, rank = {"instructions": words(draw)}, {"instructions": words(draw), "question": "Right?"}
    demos = [{"text": string(draw), "terms": [words(draw)]} for _ in range(draw.randrange(3))]
    if draw.random() < 0.7:
        part = draw.choice((task, infer, rank, *demos))
        part[draw.choice((*part, "extra"))] = draw.choice((string(draw), value(draw)))
    lines = [_assignments(task), "[infer]", _assignments(infer), "[rank]", _assignments(rank)]
    lines += [f"[[demos]]\n{_assignments(demo)}" for demo in demos]
    if draw.random() < 0.1:
        lines.insert(0, draw.choice(_TOML_SHAPES))
    return "\n".join(lines).encode("utf-8", "replace")


_TOML_SHAPES = (
    "a = " + "[" * 20_000,
    ".".join("a" * 20_000) + " = 1",
    "a = 1\na.b = 2",
    "x = " + "{a=" * 2_000,
    "d = 9999-99-99",
    'notes = """',
)


def _assignments(table: Row) -> str:
    return "\n".join(f"{json.dumps(key)} = {_toml_value(content)}" for key, content in table.items())


def _toml_value(content: Any) -> str:
    match content:
        case bool():
            return str(content).lower()
        case int() | float():
            return repr(content)
        case list():
            return "[" + ", ".join(map(_toml_value, content)) + "]"
        case dict():
            return (
                "{"
                + ", ".join(f"{json.dumps(key)} = {_toml_value(item)}" for key, item in content.items())
                + "}"
            )
        case _:
            return json.dumps("" if content is None else content, ensure_ascii=False)


TABLES: dict[str, Writer] = {
    ".jsonl": jsonl,
    ".csv": separated,
    ".tsv": separated,
    ".xlsx": xlsx,
    ".parquet": parquet,
}
LABELS: dict[str, Writer] = {**TABLES, ".txt": names}
RDF: dict[str, Writer] = {".ttl": turtle, ".nt": ntriples, ".rdf": rdfxml, ".jsonld": jsonld}
