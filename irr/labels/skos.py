"""SKOS and its dialects: the concepts of an RDF file as labels in given languages, and counts of the rest."""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from irr.errors import LabelSpaceError, UsageError
from irr.io.validation import explain
from irr.labels.rdf import read_triples
from irr.text.strings import one_line
from irr.text.words import clean
from irr.types import Label

if TYPE_CHECKING:
    from rdflib.term import Node

# The default encoder reads English.
DEFAULT_LANGUAGE = "en"
# The name of texts without a language in counts.
UNTAGGED = "untagged"
_TAG = re.compile(r"[a-z]{1,8}(-[a-z0-9]{1,8})*")

_PREFIXES = {
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "xl": "http://www.w3.org/2008/05/skos-xl#",
    "iso": "http://purl.org/iso25964/skos-thes#",
    "gnd": "https://d-nb.info/standards/elementset/gnd#",
    "esco": "http://data.europa.eu/esco/model#",
    "euvoc": "http://publications.europa.eu/ontology/euvoc#",
    "dct": "http://purl.org/dc/terms/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "owl": "http://www.w3.org/2002/07/owl#",
}
Role = Enum(
    "Role",
    "NAME ALIAS HIDDEN DEFINITION SCOPE_NOTE DESCRIPTION NOTE BROADER NARROWER TYPE SUBCLASS DEPRECATED "
    "VALUE VALUE_LANGUAGE",
)
# The predicates of each role in SKOS, SKOS-XL, ISO 25964, the GND, ESCO and EuroVoc.
_PREDICATES = {
    Role.NAME: "skos:prefLabel xl:prefLabel gnd:preferredNameForTheSubjectHeading",
    Role.ALIAS: "skos:altLabel xl:altLabel gnd:variantNameForTheSubjectHeading",
    Role.HIDDEN: "skos:hiddenLabel xl:hiddenLabel",
    Role.DEFINITION: "skos:definition euvoc:xlDefinition gnd:definition",
    Role.SCOPE_NOTE: "skos:scopeNote",
    Role.DESCRIPTION: "dct:description",
    Role.NOTE: "skos:note",
    Role.BROADER: "skos:broader iso:broaderGeneric iso:broaderPartitive iso:broaderInstantial "
    "gnd:broaderTermGeneral gnd:broaderTermGeneric gnd:broaderTermInstantial gnd:broaderTermPartitive",
    Role.NARROWER: "skos:narrower",
    Role.TYPE: "rdf:type",
    Role.SUBCLASS: "rdfs:subClassOf",
    Role.DEPRECATED: "owl:deprecated",
    # Names and notes may be resources of their own (SKOS-XL, ESCO, EuroVoc), whose text these hold.
    Role.VALUE: "xl:literalForm rdf:value esco:nodeLiteral",
    Role.VALUE_LANGUAGE: "esco:language",
}
# Roles of texts that describe a concept, by preference.
_NOTES = (Role.DEFINITION, Role.SCOPE_NOTE, Role.DESCRIPTION, Role.NOTE)


def _address(term: str) -> str:
    prefix, _, name = term.partition(":")
    return _PREFIXES[prefix] + name


_ROLES = {_address(term): role for role, terms in _PREDICATES.items() for term in terms.split()}
_CONCEPT, _SCHEME, _COLLECTION, _ORDERED = map(
    _address, ("skos:Concept", "skos:ConceptScheme", "skos:Collection", "skos:OrderedCollection")
)
# Types of millions of resources that are never concepts.
_NON_CONCEPT_TYPES = frozenset(map(_address, ("xl:Label", "esco:NodeLiteral", "euvoc:XlNote")))


class SkosCounts(BaseModel):
    """Counts of what was read of a SKOS file and what was left out."""

    model_config = ConfigDict(frozen=True)

    languages: tuple[str, ...]  # asked for, by preference
    concepts: int
    labels: int  # concepts that became labels
    named_in: dict[str, int]  # labels by the language of their name, or `untagged`
    fallbacks: int  # labels with a name in another language than those asked for
    # Left out: concepts that are deprecated or lack a preferred label or an address, parents that are not
    # labels, schemes, collections, and named resources of other types.
    deprecated: int
    unnamed: int
    blank: int
    parents_dropped: int
    schemes: int
    collections: int
    others: int

    @property
    def language_hint(self) -> str:
        """A hint if most names are in another language than asked for, else ""."""
        if 2 * self.fallbacks <= self.labels:
            return ""
        other = next(tag for tag in self.named_in if tag != UNTAGGED and _rank(tag, self.languages) is None)
        return (
            f"most names are in {other}, not in {', '.join(self.languages)}, and aliases and descriptions "
            f"in {other} were left out: name the language {other}"
        )


def read_skos(path: Path, language: str = DEFAULT_LANGUAGE) -> tuple[list[Label], SkosCounts]:
    """Reads the concepts of a SKOS file, sorted by their address, which is their id.

    A name is in the first of the languages that has one, else untagged, else in any. Aliases are in the
    language of the name, a description is in the first of the languages that has one; either may be untagged.

    Args:
        path: The file, its format named by its ending.
        language: Language tags by preference, with commas between; `en` takes `en-GB`, too.

    Raises:
        LabelSpaceError: If the file cannot be read, or holds no named concepts.
        MissingExtraError: If rdflib is not installed.
        UsageError: If a language tag is malformed.
    """
    languages = tuple(dict.fromkeys(tag.strip().lower() for tag in language.split(",")))
    for tag in languages:
        if not _TAG.fullmatch(tag):
            raise UsageError(f'"{tag}" is not a language tag', "give tags such as en or fi,en")
    thesaurus = _Thesaurus(languages)
    read_triples(path, thesaurus.add)
    return thesaurus.labels(path)


def _rank(language: str, languages: tuple[str, ...]) -> int | None:
    """The rank of a text's language by preference; "" comes last, and None is a language not asked for."""
    if not language:
        return len(languages)
    for rank, tag in enumerate(languages):
        if language == tag or language.startswith(tag + "-"):
            return rank
    return None


class _TaggedText(str):
    """A text with its language in lower case; "" if the file does not give it."""

    __slots__ = ("language",)
    language: str

    def __new__(cls, text: str, language: str) -> _TaggedText:
        self = super().__new__(cls, text)
        self.language = language
        return self


class _Thesaurus:
    """Collects the triples of names, notes, parents and types; a plain str is the address of a resource."""

    def __init__(self, languages: tuple[str, ...]) -> None:
        self._languages = languages
        self._values: dict[Role, dict[str, list[str]]] = {role: defaultdict(list) for role in Role}
        self._blank: set[str] = set()

    def add(self, subject: Node, predicate: Node, object_: Node) -> None:
        """Keeps a triple whose predicate has a role."""
        from rdflib.term import BNode, Literal

        role = _ROLES.get(str(predicate))
        if role is None:
            return
        # Addresses and languages come again and again: one object for each.
        resource, value = sys.intern(str(subject)), str(object_)
        if isinstance(object_, Literal):
            if role in (Role.TYPE, Role.SUBCLASS, Role.BROADER, Role.NARROWER):
                return
            language = sys.intern((object_.language or "").lower())
            # A name may be needed in any language, other texts only in those asked for.
            if role not in (Role.NAME, Role.VALUE) and _rank(language, self._languages) is None:
                return
            value = _TaggedText(value, language)
        elif role is Role.TYPE and value in _NON_CONCEPT_TYPES:
            return
        else:
            value = sys.intern(value)
        if isinstance(subject, BNode):
            self._blank.add(resource)
        if role is Role.NAME and str(predicate).startswith(_PREFIXES["gnd"]):
            self._values[Role.TYPE][resource].append(_CONCEPT)
        if role is Role.NARROWER:
            self._values[Role.BROADER][value].append(resource)
        else:
            self._values[role][resource].append(value)

    def labels(self, path: Path) -> tuple[list[Label], SkosCounts]:
        """The labels, and the counts of what was read."""
        kinds = self._kinds()
        concepts = sorted(resource for resource, kind in kinds.items() if kind == _CONCEPT)
        if not concepts:
            raise LabelSpaceError(path, "no SKOS concepts", "give a file with resources of type skos:Concept")
        blank = self._blank.intersection(concepts)
        addressed = [resource for resource in concepts if resource not in blank]
        left = [resource for resource in addressed if not self._is_deprecated(resource)]
        names = {resource: found for resource in left if (found := self._texts(Role.NAME, resource))}
        if not names:
            raise LabelSpaceError(path, "no concept has a name", "give a file with skos:prefLabel")
        frequency = Counter(text.language for texts in names.values() for text in texts)
        named_in: Counter[str] = Counter()
        labels, fallbacks, dropped = [], 0, 0
        for resource, texts in names.items():
            first = min(texts, key=lambda text: self._preference(text, frequency))
            named_in[first.language or UNTAGGED] += 1
            fallbacks += self._rank(first) is None
            broader = set(self._values[Role.BROADER].get(resource, ())) - {resource}
            parents = sorted(parent for parent in broader if parent in names)
            dropped += len(broader) - len(parents)
            try:
                labels.append(self._label(resource, first, texts, parents))
            except ValidationError as e:
                problem, hint = explain(e)
                raise LabelSpaceError(path, f"concept {resource!r}: {problem}", hint) from e
        counts = Counter(kinds.values())
        return labels, SkosCounts(
            languages=self._languages,
            concepts=len(concepts),
            labels=len(labels),
            named_in=dict(named_in.most_common()),
            fallbacks=fallbacks,
            deprecated=len(addressed) - len(left),
            unnamed=len(left) - len(names),
            blank=len(blank),
            parents_dropped=dropped,
            schemes=counts[_SCHEME],
            collections=counts[_COLLECTION],
            others=counts[""],
        )

    def _label(self, resource: str, name: _TaggedText, names: list[_TaggedText], parents: list[str]) -> Label:
        rank = self._rank(name)
        aliases = self._in_language(names, rank)
        for role in (Role.ALIAS, Role.HIDDEN):
            texts = self._texts(role, resource)
            ranks = [rank] if rank is not None else [r for r in map(self._rank, texts) if r is not None]
            aliases += self._in_language(texts, min(ranks, default=None))
        notes = [
            (rank, place, str(text))
            for place, role in enumerate(_NOTES)
            for text in self._texts(role, resource)
            if (rank := self._rank(text)) is not None
        ]
        return Label(
            id=resource,
            name=str(name),
            description=min(notes)[2] if notes else None,
            aliases=tuple(dict.fromkeys(alias for alias in aliases if alias != name)),
            parents=tuple(parents),
        )

    def _kinds(self) -> dict[str, str]:
        """The kind of each resource with a type or a name: a concept, a scheme, a collection, or ""."""
        types, names = self._values[Role.TYPE], self._values[Role.NAME]
        concept_types = self._concept_types()
        kinds = {}
        for resource in {**types, **names}:
            own = types.get(resource, ())
            if not own or concept_types.intersection(own):
                # A resource with a preferred label and without a type is a concept.
                kinds[resource] = _CONCEPT
            elif _SCHEME in own:
                kinds[resource] = _SCHEME
            elif _COLLECTION in own or _ORDERED in own:
                kinds[resource] = _COLLECTION
            elif resource in names:
                kinds[resource] = ""
        return kinds

    def _concept_types(self) -> set[str]:
        """skos:Concept and all classes below it."""
        below: dict[str, list[str]] = {}
        for child, parents in self._values[Role.SUBCLASS].items():
            for parent in parents:
                below.setdefault(parent, []).append(child)
        found, pending = {_CONCEPT}, [_CONCEPT]
        while pending:
            new = set(below.get(pending.pop(), ())) - found
            found |= new
            pending += new
        return found

    def _is_deprecated(self, resource: str) -> bool:
        values = self._values[Role.DEPRECATED].get(resource, ())
        return any(value.strip().lower() in ("true", "1") for value in values)

    def _texts(self, role: Role, resource: str) -> list[_TaggedText]:
        """The cleaned texts that play a role for a resource, those of SKOS-XL labels included."""
        texts = []
        for value in self._values[role].get(resource, ()):
            if isinstance(value, _TaggedText):
                texts.append(value)
            else:
                language = next(iter(self._values[Role.VALUE_LANGUAGE].get(value, ())), "").lower()
                texts += [
                    _TaggedText(text, text.language or language)
                    for text in self._values[Role.VALUE].get(value, ())
                    if isinstance(text, _TaggedText)
                ]
        cleaned = (_TaggedText(one_line(clean(text)), text.language) for text in texts)
        return [text for text in cleaned if text]

    def _rank(self, text: _TaggedText) -> int | None:
        return _rank(text.language, self._languages)

    def _in_language(self, texts: Iterable[_TaggedText], rank: int | None) -> list[str]:
        """Texts in the language of this rank, and untagged ones, sorted: a graph has no order."""
        ranks = () if rank is None else (rank, len(self._languages))
        return sorted({str(text) for text in texts if self._rank(text) in ranks})

    def _preference(self, text: _TaggedText, frequency: Counter[str]) -> tuple[int, int, int, str, str]:
        rank = self._rank(text)
        if rank is None:
            # The most frequent language of the file, so that few languages are mixed.
            return len(self._languages) + 1, -frequency[text.language], 0, text.language, str(text)
        return rank, 0, len(text.language), text.language, str(text)
