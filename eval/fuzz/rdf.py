"""Rows as SKOS files: N-Triples, Turtle, RDF/XML and JSON-LD."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from eval.fuzz.damage import entities
from eval.fuzz.values import Row, as_json, string, value

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
        entities(),
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


RDF = {".ttl": turtle, ".nt": ntriples, ".rdf": rdfxml, ".jsonld": jsonld}
