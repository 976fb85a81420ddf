"""RDF files in: RDF/XML, Turtle, N-Triples and JSON-LD, triple by triple, without external references."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.parsers import expat
from xml.sax import SAXParseException

from irr.errors import LabelSpaceError
from irr.io.streams import Source, ending, open_source, read_lines
from irr.text.strings import printable

if TYPE_CHECKING:
    from rdflib.store import Store
    from rdflib.term import Node

FORMATS = {
    ".rdf": "RDF/XML",
    ".xml": "RDF/XML",
    ".owl": "RDF/XML",
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
_MOST_VALUES = 10_000_000

Add = Callable[["Node", "Node", "Node"], None]


class _AddError(Exception):
    """Carries an exception of `add` through the parser, apart from the parser's own."""


def read_triples(path: Path, add: Add) -> None:
    """Calls `add` with subject, predicate and object of every triple, in the order of the file.

    Args:
        path: A file whose ending is one of `FORMATS`; `.gz` may follow.
        add: Called for each triple; no graph is built.

    Raises:
        LabelSpaceError: With the row where it is known, for a file that is not what its ending says, or that
            refers to a JSON-LD context or an XML entity outside of it.
    """

    def guarded(subject: Node, predicate: Node, object_: Node) -> None:
        try:
            add(subject, predicate, object_)
        except Exception as e:
            raise _AddError from e

    name = FORMATS[ending(path)]
    read = {"N-Triples": _read_ntriples, "JSON-LD": _read_json, "RDF/XML": _read_xml, "Turtle": _read_turtle}
    try:
        with _quiet():
            read[name](path, guarded)
    except LabelSpaceError:
        raise
    except _AddError as e:
        raise e.__cause__ or e from None
    except Exception as e:  # the parsers' errors have no common base
        problem, row = _explain(e)
        raise LabelSpaceError(path, f"not {name} ({problem})", "correct the file", row) from e


def _read_ntriples(path: Path, add: Add) -> None:
    from rdflib.plugins.parsers.ntriples import W3CNTriplesParser

    class Sink:
        triple = staticmethod(add)

    parser = W3CNTriplesParser(Sink())  # type: ignore[arg-type]
    # Line by line, so that an error has its row.
    for row, line in read_lines(path, LabelSpaceError):
        parser.line = line.strip()
        try:
            parser.parseline()
        except _AddError:
            raise
        except Exception as e:  # bad escapes and language tags raise various exceptions
            raise LabelSpaceError(path, "not N-Triples", "write one triple a line", row) from e


def _read_turtle(path: Path, add: Add) -> None:
    from rdflib import Graph
    from rdflib.parser import InputSource

    with open_source(path, held=True, error=LabelSpaceError) as file:
        source = InputSource(_BASE)
        source.setCharacterStream(io.StringIO(file.read().decode("utf-8-sig"), newline=""))
        Graph(_store(add), bind_namespaces="none").parse(source, format="turtle", publicID=_BASE)


def _read_xml(path: Path, add: Add) -> None:
    from rdflib import Graph
    from rdflib.parser import InputSource

    with open_source(path, held=True, error=LabelSpaceError) as file:
        _check_entities(file, path)
    with open_source(path, held=True, error=LabelSpaceError) as file:
        source = InputSource(_BASE)
        source.setByteStream(file)
        Graph(_store(add), bind_namespaces="none").parse(source, format="xml", publicID=_BASE)


class _Begun(Exception):  # noqa: N818
    """The first element was reached; all entities are declared before it."""


def _check_entities(file: Source, path: Path) -> None:
    """Refuses external entities, and entities made of others, which can grow without bound."""

    def declared(
        name: str, _p: bool, value: str | None, _b: str | None, system: str | None, *_: str | None
    ) -> None:
        problem = f'entity "{name}"'
        if value is None:
            problem += f" is in another file ({system}), which is not fetched"
        elif "&" in value:
            problem += " is made of other entities"
        else:
            return
        hint = "write its text into the file"
        raise LabelSpaceError(path, problem, hint, parser.CurrentLineNumber)

    def begun(*_: Any) -> None:
        raise _Begun

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = declared
    parser.StartElementHandler = begun
    try:
        parser.ParseFile(file)
    except (_Begun, expat.ExpatError):
        return  # the parser reports faults of the rest


def _read_json(path: Path, add: Add) -> None:
    from rdflib import Graph
    from rdflib.plugins.parsers.jsonld import Parser
    from rdflib.plugins.shared.jsonld.context import Context

    with open_source(path, held=True, error=LabelSpaceError) as file:
        content = file.read()
        # A small value takes up to 50 times its size in memory.
        if sum(map(content.count, (b",", b"[", b"{"))) > _MOST_VALUES:
            raise file.too_large(f"more than {_MOST_VALUES:,} values")
        data = json.loads(content.decode("utf-8-sig"))
    _check_contexts(data, path)
    context = Context(base=_BASE)
    # rdflib fetches a context that this cache lacks; contexts made from this one share the cache.
    context._context_cache = _Refused(path)
    Parser().parse(data, context, Graph(_store(add), bind_namespaces="none"))


class _Refused(dict[str, Any]):
    """A cache that claims to hold every context and raises an error when one is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __contains__(self, address: object) -> bool:
        return True

    def __getitem__(self, address: str) -> Any:
        raise _elsewhere(self._path, address)


def _check_contexts(data: Any, path: Path) -> None:
    """Refuses a context that is named by its address, at any depth, before the data is read."""
    pending = [(data, False)]
    while pending:
        value, in_context = pending.pop()
        if isinstance(value, list):
            pending.extend((item, in_context) for item in value)
        elif isinstance(value, dict):
            pending.extend((item, key in ("@context", "@import")) for key, item in value.items())
        elif in_context and isinstance(value, str):
            raise _elsewhere(path, value)


def _elsewhere(path: Path, address: str) -> LabelSpaceError:
    problem = f"its JSON-LD context {printable(address)[:200]} is in another file, which is not fetched"
    return LabelSpaceError(path, problem, "write that context into the file")


def _store(add: Add) -> Store:
    """An rdflib store that passes triples on to `add` and keeps none."""
    from rdflib.store import Store

    class Sink(Store):
        def add(self, triple: Any, context: Any, quoted: bool = False) -> None:
            add(*triple)

        def bind(self, *_: Any, **__: Any) -> None: ...

        def namespaces(self) -> Iterator[Any]:
            return iter(())

        def namespace(self, prefix: str) -> None: ...

        def prefix(self, namespace: Any) -> None: ...

    return Sink()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences rdflib's warnings about odd addresses and dates."""
    logger = logging.getLogger("rdflib")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="rdflib")
            yield
    finally:
        logger.setLevel(before)


def _explain(e: Exception) -> tuple[str, int | None]:
    if isinstance(e, SAXParseException):
        return e.getMessage(), e.getLineNumber()
    if isinstance(e, json.JSONDecodeError):
        return e.msg, e.lineno
    if isinstance(e, UnicodeDecodeError):
        return "not UTF-8", None
    if isinstance(e, RecursionError):
        return "nested too deeply", None
    if found := _TURTLE_ERROR.match(str(e)):
        return found[2].splitlines()[0], int(found[1])
    if found := _XML_ERROR.match(str(e)):
        return found[2].splitlines()[0], int(found[1])
    return (str(e) or type(e).__name__).splitlines()[0], None
