"""SKOS: every construct in every serialisation, the languages, what is left out, and unusable files."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import rdflib

from irr.errors import LabelSpaceError, MissingExtraError, UsageError
from irr.labels.space import LabelSpace
from irr.types import Label
from tests.support import Irr, read_jsonl, write_jsonl

THESAURUS = Path(__file__).parents[1] / "data" / "kitchen.ttl"
K = "http://example.org/kitchen/"
PREF = "http://www.w3.org/2004/02/skos/core#prefLabel"
SKOS = "@prefix skos: <http://www.w3.org/2004/02/skos/core#> . @prefix e: <http://e/> .\n"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was used"))


def read(path: Path = THESAURUS, language: str | None = None) -> dict[str, Label]:
    return {label.id.removeprefix(K): label for label in LabelSpace.read(path, language)}


def turtle(folder: Path, text: str) -> Path:
    path = folder / "labels.ttl"
    path.write_text(SKOS + text, "utf-8")
    return path


def test_every_construct_becomes_a_label() -> None:
    labels = read()
    assert list(labels) == sorted(labels), "a graph has no order: the addresses give one"
    assert labels["bake"] == Label(
        id=K + "bake",
        name="bakery work",
        description="To make food with dry heat, usually in an oven.",
        aliases=("baking", "bake bread and cakes", "oven work", "bakeing"),
        parents=(K + "work",),
    )
    assert labels["bread"] == Label(
        id=K + "bread",
        name="bread making",
        description="Loaves and rolls.",
        aliases=('making loaves, "buns" and rolls',),
        parents=(K + "bake", K + "work"),
    )
    assert labels["cake"] == Label(
        id=K + "cake",
        name="cake making",
        description="Cakes of all kinds.",
        aliases=("pastry", "cakemaking"),
        parents=(K + "bake",),
    )
    assert labels["wash"].description == "To clean dishes after use."
    assert labels["knife"].name == "knife skills", "typed by a class below skos:Concept"
    assert labels["plate"].name == "plating", "not typed at all"
    assert labels["kept"].name == "kept warm", "deprecated: false"
    assert (labels["stock"].parents, labels["soup"].parents) == ((K + "soup",), (K + "stock",))
    assert not {"scheme", "baked", "team", "old", "nameless", "empty"} & set(labels)


def test_the_counts_say_what_was_left_out() -> None:
    counts = LabelSpace.read(THESAURUS).counts
    assert counts is not None
    assert counts.model_dump() == {
        "languages": ("en",),
        "concepts": 17,
        "labels": 13,
        "named_in": {"en": 10, "fi": 1, "sv": 1, "untagged": 1},
        "fallbacks": 2,
        "deprecated": 1,
        "unnamed": 2,
        "blank": 1,
        "parents_dropped": 2,
        "schemes": 1,
        "collections": 1,
        "others": 1,
    }


def test_languages_are_taken_in_the_order_asked_for() -> None:
    labels = read(language="fi,en")
    assert labels["bake"].name == "leivonta"
    assert labels["bake"].aliases == ("leipominen",), "in the language of the name"
    assert labels["bake"].description == "Ei pizzalle.", "a Finnish note before an English definition"
    assert labels["cake"].name == "kakkujen leivonta"
    assert labels["cake"].description == "Kaikenlaiset kakut."
    assert labels["work"].description == "All that is done in a kitchen."
    assert labels["knife"].name == "knife skills"
    assert read(language="FI")["bake"].name == "leivonta"
    assert read(language="el")["bake"].name == "ψήσιμο"
    assert read(language="zh")["bake"].name == "烘焙"
    assert read(language="ar")["bake"].name == "خَبز"
    assert read(language="en-GB")["bake"].name == "baking"


def test_a_name_in_any_language_is_better_than_none() -> None:
    labels = read(language="en")
    assert labels["coffee"].name == "kahvin keitto", "of two others, the one most of the file is in"
    assert labels["coffee"].aliases == ("coffee making",), "aliases stay in the language asked for"
    assert labels["smoke"].name == "rökning"
    assert labels["sushi"].aliases == ("maki", "nigiri")


def test_a_file_in_another_language_says_which(tmp_path: Path) -> None:
    space = LabelSpace.read(turtle(tmp_path, 'e:a a skos:Concept; skos:prefLabel "leipä"@fi .'))
    assert space.counts is not None
    assert "name the language fi" in space.counts.language_hint


@pytest.mark.parametrize(
    ("ending", "format_"),
    [
        (".rdf", "xml"),
        (".owl", "pretty-xml"),
        (".xml", "xml"),
        (".nt", "nt11"),
        (".jsonld", "json-ld"),
        (".json", "json-ld"),
        (".ttl", "longturtle"),
    ],
)
def test_all_serialisations_are_the_same_label_space(tmp_path: Path, ending: str, format_: str) -> None:
    plain, packed = tmp_path / f"labels{ending}", tmp_path / f"labels{ending}.gz"
    rdflib.Graph().parse(THESAURUS).serialize(plain, format=format_, encoding="utf-8")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    expected = LabelSpace.read(THESAURUS, "fi,en")
    for path in (plain, packed):
        space = LabelSpace.read(path, "fi,en")
        assert space.fingerprint == expected.fingerprint
        assert space.counts == expected.counts


def test_other_formats_may_be_packed_too(tmp_path: Path) -> None:
    rows = b'{"id": "1", "name": "bread"}\n{"id": "2", "name": "cake"}\n'
    for name, content in (("a.jsonl", rows), ("a.csv", b"id,name\n1,bread\n2,cake\n")):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
        assert [label.name for label in LabelSpace.read(tmp_path / f"{name}.gz")] == ["bread", "cake"]


def test_the_subject_headings_of_the_gnd_are_concepts(tmp_path: Path) -> None:
    path = tmp_path / "gnd.ttl"
    path.write_text(
        "@prefix gndo: <https://d-nb.info/standards/elementset/gnd#> .\n"
        "@prefix g: <https://d-nb.info/gnd/> .\n"
        'g:1 a gndo:SubjectHeadingSensoStricto ; gndo:preferredNameForTheSubjectHeading "Gravitation" ;\n'
        '  gndo:variantNameForTheSubjectHeading "Schwerkraft" ; gndo:broaderTermGeneral g:2 .\n'
        'g:2 a gndo:SubjectHeadingSensoStricto ; gndo:preferredNameForTheSubjectHeading "Physik" .\n',
        "utf-8",
    )
    first, second = LabelSpace.read(path)
    assert (first.name, first.aliases, first.parents) == ("Gravitation", ("Schwerkraft",), (second.id,))


def test_relative_addresses_do_not_depend_on_where_the_file_stands(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        path = turtle(tmp_path / folder, '<#a> a skos:Concept; skos:prefLabel "x"@en .')
        assert LabelSpace.read(path)[0].id == "file:///#a"


def test_odd_characters_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.nt"
    path.write_text(
        "\ufeff# a comment\n\n"
        f'<http://e/a> <{PREF}> "a\\u0000b\\uD800 c\\nd\u2028e"@en .\r\n'
        '<http://e/a> <http://www.w3.org/2004/02/skos/core#altLabel> "f"@en .',
        "utf-8",
    )
    assert [label.name for label in LabelSpace.read(path)] == ["a b c d e"]


LABEL = f'<http://e/a> <{PREF}> "x"@en .\n'
RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.ttl", b"@prefix e: <http://e/> .\ne:a e:b\n  e:c e:d .\n", "a.ttl, row 3: not Turtle"),
        ("a.ttl", b"e:a e:b e:c .", 'row 1: not Turtle (Prefix "e:" not bound)'),
        ("a.ttl", b'<http://e/a> <http://e/b> "caf\xe9" .', "not UTF-8"),
        ("a.ttl", b"<http://e/a> <http://e/b> " + b"[" * 9_000, "nested too deeply"),
        ("a.ttl", b"", "no SKOS concepts"),
        ("a.nt", f"{LABEL}\n<http://e/a> oops .\n".encode(), "a.nt, row 3: not N-Triples"),
        ("a.nt", LABEL.encode() + b'<http://e/a> <http://e/b> "caf\xe9" .', "row 2: not UTF-8"),
        ("a.rdf", b"<rdf>\n<a>\n</b></rdf>", "a.rdf, row 3: not RDF/XML (mismatched tag)"),
        ("a.rdf", b"", "row 1: not RDF/XML (no element found)"),
        ("a.xml", b"<a/>", "no SKOS concepts"),
        (
            "a.rdf",
            f'<rdf:RDF {RDF}>\n<rdf:Description rdf:ID="a b"/></rdf:RDF>'.encode(),
            "a.rdf, row 2: not RDF/XML (rdf:ID value is not a valid NCName",
        ),
        ("a.json", b'[{"id": "1",\n "name"}]', "a.json, row 2: not JSON-LD"),
        ("a.json", b'[{"id": "1", "name": "x"}]', "no SKOS concepts"),
        ("a.jsonld", b'{"@context": 5}', "not JSON-LD"),
        ("a.jsonld", b'"caf\xe9"', "not UTF-8"),
        ("a.nt.gz", b"oops", "row 1: not N-Triples"),
        ("a.nt.gz", gzip.compress(LABEL.encode() * 99, mtime=0)[:-9], "the compressed data breaks off"),
        ("a.jsonl.gz", gzip.compress(b"{}", mtime=0), 'a.jsonl.gz, row 1: no "id"'),
        ("a.n3", b"", "unknown format .n3"),
        (
            "a.ttl",
            f"{SKOS} e:a a skos:Concept .".encode(),
            "no concept has a name",
        ),
        (
            "a.rdf",
            f'<!DOCTYPE r [\n<!ENTITY x SYSTEM "file:///etc/hostname">]><rdf:RDF {RDF}/>'.encode(),
            'row 2: entity "x" is in another file (file:///etc/hostname)',
        ),
        (
            "a.rdf",
            f'<!DOCTYPE r [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><rdf:RDF {RDF}>&b;</rdf:RDF>'.encode(),
            'entity "b" is made of other entities',
        ),
    ],
)
def test_an_unusable_file_is_one_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LabelSpaceError) as e:
        LabelSpace.read(path)
    assert says in str(e.value)
    assert e.value.hint
    assert "\n" not in str(e.value)


def test_entities_that_stand_for_addresses_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.owl"
    path.write_text(
        '<?xml version="1.0"?>\n<!DOCTYPE rdf:RDF [<!ENTITY skos "http://www.w3.org/2004/02/skos/core#">]>\n'
        f'<rdf:RDF {RDF} xmlns:skos="&skos;"><rdf:Description rdf:about="http://e/a">'
        '<rdf:type rdf:resource="&skos;Concept"/><skos:prefLabel xml:lang="en">A &amp; B</skos:prefLabel>'
        "</rdf:Description></rdf:RDF>"
    )
    assert LabelSpace.read(path)[0].name == "A & B"


@pytest.mark.parametrize(
    "content",
    [
        {"@context": "https://example.org/context.jsonld", "@id": "http://e/a", "prefLabel": "x"},
        {"@context": ["./context.jsonld", {}], "@id": "http://e/a"},
        {"@graph": [{"@context": "http://e/c", "@id": "http://e/a"}]},
        {"@context": {"@version": 1.1, "@import": "http://e/c"}, "@id": "http://e/a"},
        {"@context": {"x": {"@id": "http://e/x", "@context": "http://e/c"}}, "x": {"y": 1}},
    ],
)
def test_a_context_that_stands_elsewhere_is_refused_not_fetched(
    tmp_path: Path, content: dict[str, object]
) -> None:
    path = tmp_path / "a.jsonld"
    path.write_text(json.dumps(content))
    (tmp_path / "context.jsonld").write_text("{}")
    with pytest.raises(LabelSpaceError, match=r"a\.jsonld: its JSON-LD context .* is in another file") as e:
        LabelSpace.read(path)
    assert e.value.hint == "write that context into the file"


def test_json_that_would_fill_memory_is_refused_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "many.jsonld"
    path.write_text('{"@graph": [' + ",".join(["{}"] * 6_000_001) + "]}")
    monkeypatch.setattr(json, "loads", lambda _: pytest.fail("it was parsed"))
    with pytest.raises(LabelSpaceError, match="more than 10,000,000 values, which is too much"):
        LabelSpace.read(path)


def test_a_named_graph_is_read_too(tmp_path: Path) -> None:
    label = {"@id": "http://e/a", PREF: [{"@value": "x", "@language": "en"}]}
    path = tmp_path / "a.jsonld"
    path.write_text(json.dumps({"@id": "http://e/graph", "@graph": [label]}))
    assert LabelSpace.read(path)[0].name == "x"


def test_a_language_must_be_one_and_must_matter(tmp_path: Path) -> None:
    for language in ("", "en,", "english!", "fi;en"):
        with pytest.raises(UsageError, match="is not a language tag"):
            LabelSpace.read(THESAURUS, language)
    with pytest.raises(UsageError, match="is not SKOS"):
        LabelSpace.read(write_jsonl(tmp_path / "a.jsonl", [{"id": "1", "name": "x"}]), "en")


def test_without_rdflib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdflib", None)
    with pytest.raises(MissingExtraError, match="SKOS needs rdflib") as e:
        LabelSpace.read(THESAURUS)
    assert e.value.hint == "pip install 'irr[skos]'"


def test_classes_below_concept_are_found_at_any_depth(tmp_path: Path) -> None:
    sub = "<http://www.w3.org/2000/01/rdf-schema#subClassOf>"
    chain = " ".join(f"e:k{i + 1} {sub} e:k{i} ." for i in range(3_000))
    text = f'e:k0 {sub} skos:Concept . {chain} e:k5 {sub} e:k9 . e:a a e:k3000; skos:prefLabel "x" .'
    assert [label.id for label in LabelSpace.read(turtle(tmp_path, text))] == ["http://e/a"]


def test_converting_to_jsonl_keeps_every_label(irr: Irr, tmp_path: Path) -> None:
    output, survey = tmp_path / "labels.jsonl", tmp_path / "survey.json"
    result = irr("labels", THESAURUS, "--language", "fi,en", "--output", output, "--json", survey)
    assert result.returncode == 0, result.stderr
    assert LabelSpace.read(output).fingerprint == LabelSpace.read(THESAURUS, "fi,en").fingerprint
    assert "13 labels of 17 concepts; named in fi 6, en 5, sv 1, untagged 1" in result.stderr
    assert "1 deprecated concepts, 2 concepts without a name" in result.stderr
    assert "the labels do not look like English" in result.stdout
    for shown in ("with parents", "steps from a root", "soup → ", "their own ancestors"):
        assert shown in result.stdout
    found = json.loads(survey.read_text("utf-8"))
    assert found["labels"] == 13
    assert found["read"]["named_in"] == {"fi": 6, "en": 5, "sv": 1, "untagged": 1}
    to_stdout = irr("labels", THESAURUS, "--language", "fi,en", "--output", "-")
    assert to_stdout.stdout == output.read_text("utf-8")


def test_commands_take_skos_as_it_is(irr: Irr, tmp_path: Path) -> None:
    texts = write_jsonl(tmp_path / "texts.jsonl", [{"id": "1", "text": "Osaat tiskaus ja leivonta työt"}])
    output = tmp_path / "out.jsonl"
    call = ("--labels", THESAURUS, "--language", "fi", "--top-k", 2, "--hierarchy", "closed")
    result = irr("classify", *call, "--input", texts, "--output", output)
    assert result.returncode == 0, result.stderr
    names = [label["name"] for label in read_jsonl(output)[0]["labels"]]
    assert len(names) == 3
    assert set(names) == {"tiskaus", "leivonta", "keittiötyö"}, "the two, and what is above both"
    assert "13 labels of 17 concepts" in result.stderr
    for wrong, says in (
        (("--language", "x!"), '"x!" is not a language tag'),
        (
            ("--labels", write_jsonl(tmp_path / "l.jsonl", [{"id": "1", "name": "x"}]), "--language", "fi"),
            "SKOS",
        ),
    ):
        bad = irr("inspect", "--labels", THESAURUS, "--text", "x", *wrong)
        assert bad.returncode == 2
        assert says in bad.stderr
        assert len(bad.stderr.splitlines()) == 1


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """The address of a server that has a context for everyone, and what it was asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"@context": {"prefLabel": "http://www.w3.org/2004/02/skos/core#prefLabel"}}')

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()


OPENED: list[object] = []
sys.addaudithook(lambda event, args: OPENED.append(args[0]) if event == "open" else None)
NODE = {"@id": "http://e/a", "@type": "http://www.w3.org/2004/02/skos/core#Concept"}
CONTEXTS: list[Callable[[str], Any]] = [
    lambda url: {"@context": url},
    lambda url: {"@context": [[url]]},
    lambda url: {"@context": [{}, [[[{"a": "http://e/"}, url]]]]},
    lambda url: {"@context": {"@import": url}},
    lambda url: {"@context": [[{"@import": [url]}]]},
    lambda url: {"@context": {"term": {"@id": "http://e/t", "@context": url}}},
    lambda url: {"@context": {"Kind": {"@id": "http://e/K", "@context": [[url]]}}},
    lambda url: {"@context": {"@context": url}},
    lambda url: {"@graph": [{"http://e/p": [[{"@context": [[url]], **NODE}]]}]},
    lambda url: [[{"@context": None, "@included": [{"@context": url}]}]],
]


@pytest.mark.parametrize("make", CONTEXTS)
@pytest.mark.parametrize("scheme", ["http", "file"])
def test_no_context_is_fetched_however_deep(
    tmp_path: Path, asked: tuple[str, list[str]], make: Callable[[str], Any], scheme: str
) -> None:
    local = tmp_path / "context.json"
    local.write_text('{"@context": {"prefLabel": "http://www.w3.org/2004/02/skos/core#prefLabel"}}')
    address, paths = asked
    data = make(address + "/c" if scheme == "http" else local.as_uri())
    path = tmp_path / "labels.jsonld"
    path.write_text(json.dumps({**NODE, **data} if isinstance(data, dict) else data))
    OPENED.clear()
    with pytest.raises(LabelSpaceError, match="is in another file, which is not fetched"):
        LabelSpace.read(path)
    assert str(local) not in map(str, OPENED)
    assert paths == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.rdf", '<!DOCTYPE r SYSTEM "{url}"><rdf:RDF {rdf}>{concept}</rdf:RDF>'),
        ("a.rdf", '<!DOCTYPE r [<!ENTITY % x SYSTEM "{url}"> %x;]><rdf:RDF {rdf}>{concept}</rdf:RDF>'),
        (
            "a.rdf",
            '<rdf:RDF {rdf}>{concept}<o:Ontology xmlns:o="http://www.w3.org/2002/07/owl#">'
            '<o:imports rdf:resource="{url}"/></o:Ontology></rdf:RDF>',
        ),
        (
            "a.rdf",
            '<rdf:RDF {rdf}><i:include xmlns:i="http://www.w3.org/2001/XInclude" href="{url}"/></rdf:RDF>',
        ),
        (
            "a.ttl",
            "@base <{url}> . <> <http://www.w3.org/2002/07/owl#imports> <{url}> . "
            "<a> a <http://www.w3.org/2004/02/skos/core#Concept> ; "
            '<http://www.w3.org/2004/02/skos/core#prefLabel> "x" .',
        ),
    ],
)
def test_nothing_is_fetched_for_xml_and_turtle(
    tmp_path: Path, asked: tuple[str, list[str]], name: str, content: str
) -> None:
    address, paths = asked
    concept = '<s:Concept xmlns:s="http://www.w3.org/2004/02/skos/core#" rdf:about="http://e/a">'
    concept += "<s:prefLabel>x</s:prefLabel></s:Concept>"
    rdf = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    path = tmp_path / name
    path.write_text(content.format(url=address + "/x", rdf=rdf, concept=concept))
    with contextlib.suppress(LabelSpaceError):
        LabelSpace.read(path)
    assert paths == []
