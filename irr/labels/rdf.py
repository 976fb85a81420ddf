"""Triples of RDF files by rdflib's parsers, without a graph in memory and without other files."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self
from xml.parsers import expat
from xml.sax import SAXParseException

from irr.errors import LabelSpaceError, MissingExtraError
from irr.io.streams import ending, open_source, read_lines
from irr.text.strings import printable

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node

FORMATS = {
    **dict.fromkeys((".rdf", ".xml", ".owl"), "RDF/XML"),
    ".ttl": "Turtle",
    ".nt": "N-Triples",
    ".jsonld": "JSON-LD",
    ".json": "JSON-LD",
}
# The base of relative addresses; with the file's own path, ids would depend on where it stands.
_BASE = "file:///"
_TURTLE_ERROR = re.compile(r"at line (\d+) of <.*?>:\s*Bad syntax \((.*?)\) at \^", re.DOTALL)
_XML_ERROR = re.compile(re.escape(_BASE) + r":(\d+):\d+: (.*)", re.DOTALL)
# Values of a JSON-LD file: 600,000 concepts with a name and two aliases, which take 1.8 GiB of memory.
_MAX_VALUES = 10_000_000

Add = Callable[["Node", "Node", "Node"], None]


def read_triples(path: Path, add: Add) -> None:
    """Calls `add` with subject, predicate and object of every triple of a file in one of `FORMATS`.

    A graph of rdflib would hold the triples in four times the memory that the labels take. A file that refers
    to a JSON-LD context or an XML entity outside of it is refused.
    """
    try:
        import rdflib  # noqa: F401
    except ImportError as e:
        raise MissingExtraError(f"{path}: SKOS needs rdflib", "pip install 'irr[skos]'") from e
    name = FORMATS[ending(path)]
    logger = logging.getLogger("rdflib")  # warns of odd addresses and dates
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        _READERS[name](path, add)
    except LabelSpaceError:
        raise
    except Exception as e:  # the parsers' errors have no common base
        problem, row = _explain(e)
        raise LabelSpaceError(path, f"not {name} ({problem})", "correct the file", row) from e
    finally:
        logger.setLevel(level)


def _read_ntriples(path: Path, add: Add) -> None:
    from rdflib.plugins.parsers.ntriples import W3CNTriplesParser

    parser = W3CNTriplesParser(SimpleNamespace(triple=add))  # type: ignore[arg-type]
    # Line by line, so that an error has its row.
    for row, line in read_lines(path, LabelSpaceError):
        parser.line = line.strip()
        try:
            parser.parseline()
        except Exception as e:  # bad escapes and language tags raise various exceptions
            raise LabelSpaceError(path, "not N-Triples", "write one triple a line", row) from e


def _read_xml(path: Path, add: Add) -> None:
    from rdflib.parser import InputSource

    _check_entities(path)
    source = InputSource(_BASE)
    with open_source(path, held=True, error=LabelSpaceError) as file:
        source.setByteStream(file)
        _graph(add).parse(source, format="xml", publicID=_BASE)


def _read_turtle(path: Path, add: Add) -> None:
    with open_source(path, held=True, error=LabelSpaceError) as file:
        _graph(add).parse(data=file.read().decode("utf-8-sig"), format="turtle", publicID=_BASE)


def _check_entities(path: Path) -> None:
    """Refuses external entities, and entities made of others, which can grow without bound."""

    def declared(name: str, _p: bool, value: str | None, _b: str | None, system: str | None, *_: Any) -> None:
        problem = f'entity "{name}" is made of other entities'
        if value is None:
            problem = f'entity "{name}" is in another file ({system}), which is not fetched'
        if value is None or "&" in value:
            hint = "write its text into the file"
            raise LabelSpaceError(path, problem, hint, parser.CurrentLineNumber)

    elements: list[str] = []
    parser = expat.ParserCreate()
    parser.EntityDeclHandler = declared
    parser.StartElementHandler = lambda name, _: elements.append(name)
    # rdflib reports what is not XML. Entities are declared before the first element.
    with suppress(expat.ExpatError), open_source(path, held=True, error=LabelSpaceError) as file:
        while not elements and (chunk := file.read(2**16)):
            parser.Parse(chunk)


def _read_json(path: Path, add: Add) -> None:
    from rdflib.plugins.parsers.jsonld import to_rdf

    with open_source(path, held=True, error=LabelSpaceError) as file:
        content = file.read()
        # A small value takes up to 50 times its size in memory.
        if sum(map(content.count, (b",", b"[", b"{"))) > _MAX_VALUES:
            raise file.too_large(f"more than {_MAX_VALUES:,} values")
    data = json.loads(content.decode("utf-8-sig"))
    _check_contexts(data, path)
    to_rdf(data, _graph(add), base=_BASE)


def _check_contexts(data: Any, path: Path) -> None:
    """Refuses a context that is named by its address, at any depth: rdflib would fetch it."""
    pending = [(data, False)]
    while pending:
        value, in_context = pending.pop()
        if isinstance(value, list):
            pending.extend((item, in_context) for item in value)
        elif isinstance(value, dict):
            pending.extend((item, key in ("@context", "@import")) for key, item in value.items())
        elif in_context and isinstance(value, str):
            address = printable(value)[:200]
            problem = f"its JSON-LD context {address} is in another file, which is not fetched"
            raise LabelSpaceError(path, problem, "write that context into the file")


def _graph(add: Add) -> Graph:
    """An rdflib graph that passes its triples on to `add` and holds none."""
    from rdflib import Graph

    class PassingGraph(Graph):
        def add(self, triple: tuple[Node, Node, Node]) -> Self:
            add(*triple)
            return self

    return PassingGraph(bind_namespaces="none")


_READERS = {"RDF/XML": _read_xml, "Turtle": _read_turtle, "N-Triples": _read_ntriples, "JSON-LD": _read_json}


def _explain(e: Exception) -> tuple[str, int | None]:
    if isinstance(e, SAXParseException):
        return e.getMessage(), e.getLineNumber()
    if isinstance(e, json.JSONDecodeError):
        return e.msg, e.lineno
    if isinstance(e, UnicodeDecodeError):
        return "not UTF-8", None
    if isinstance(e, RecursionError):
        return "nested too deeply", None
    if found := _TURTLE_ERROR.match(str(e)) or _XML_ERROR.match(str(e)):
        return found[2].splitlines()[0], int(found[1])
    return (str(e) or type(e).__name__).splitlines()[0], None
