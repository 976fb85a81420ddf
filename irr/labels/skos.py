"""SKOS and its dialects: the concepts of an RDF file as labels in given languages, and counts of the rest."""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

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


class Role(Enum):
    """What a triple tells of its subject: the predicates of SKOS and its dialects by what they mean."""

    NAME = "skos:prefLabel xl:prefLabel gnd:preferredNameForTheSubjectHeading"
    ALIAS = "skos:altLabel xl:altLabel gnd:variantNameForTheSubjectHeading"
    HIDDEN = "skos:hiddenLabel xl:hiddenLabel"
    DEFINITION = "skos:definition euvoc:xlDefinition gnd:definition"
    SCOPE_NOTE = "skos:scopeNote"
    DESCRIPTION = "dct:description"
    NOTE = "skos:note"
    BROADER = (
        "skos:broader iso:broaderGeneric iso:broaderPartitive iso:broaderInstantial "
        "gnd:broaderTermGeneral gnd:broaderTermGeneric gnd:broaderTermInstantial gnd:broaderTermPartitive"
    )
    NARROWER = "skos:narrower"
    TYPE = "rdf:type"
    SUBCLASS = "rdfs:subClassOf"
    DEPRECATED = "owl:deprecated"
    # Names and notes may be resources of their own (SKOS-XL, ESCO, EuroVoc), whose text these hold.
    VALUE = "xl:literalForm rdf:value esco:nodeLiteral"
    VALUE_LANGUAGE = "esco:language"


# Roles of texts that describe a concept, by preference.
_NOTES = (Role.DEFINITION, Role.SCOPE_NOTE, Role.DESCRIPTION, Role.NOTE)


def _address(term: str) -> str:
    prefix, _, name = term.partition(":")
    return _PREFIXES[prefix] + name


_ROLES = {_address(term): role for role in Role for term in role.value.split()}
_CONCEPT = _address("skos:Concept")
_SCHEMES = {_address("skos:ConceptScheme")}
_COLLECTIONS = {_address("skos:Collection"), _address("skos:OrderedCollection")}
# Types of millions of resources that are never concepts.
_NON_CONCEPT_TYPES = frozenset(map(_address, ("xl:Label", "esco:NodeLiteral", "euvoc:XlNote")))


class SkosCounts(BaseModel, frozen=True):
    """Counts of what was read of a SKOS file and what was left out."""

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
        others = (tag for tag in self.named_in if _rank(tag, self.languages) > len(self.languages))
        other = next(tag for tag in others if tag != UNTAGGED)
        return (
            f"most names are in {other}, not in {', '.join(self.languages)}, and aliases and descriptions "
            f"in {other} were left out: name the language {other}"
        )


def read_skos(path: Path, language: str = DEFAULT_LANGUAGE) -> tuple[list[Label], SkosCounts]:
    """Reads the concepts of a SKOS file, sorted by their address, which is their id.

    A name is in the first of the languages that has one, else untagged, else in any. Aliases are in the
    language of the name, a description is in the first of the languages that has one; either may be untagged.

    `language` holds language tags by preference, with commas between; `en` takes `en-GB`, too.
    """
    languages = tuple(dict.fromkeys(tag.strip().lower() for tag in language.split(",")))
    for tag in languages:
        if not _TAG.fullmatch(tag):
            raise UsageError(f'"{tag}" is not a language tag', "give tags such as en or fi,en")
    thesaurus = _Thesaurus(languages)
    read_triples(path, thesaurus.add)
    return thesaurus.labels(path)


def _rank(language: str, languages: tuple[str, ...]) -> int:
    """The rank of a text's language by preference; untagged texts follow, then texts in other languages."""
    if not language:
        return len(languages)
    ranks = (n for n, tag in enumerate(languages) if language == tag or language.startswith(tag + "-"))
    return next(ranks, len(languages) + 1)


class _Thesaurus:
    """Collects the texts of resources, each with its language, and their links, and makes labels of them."""

    def __init__(self, languages: tuple[str, ...]) -> None:
        self._languages = languages
        self._untagged = len(languages)
        self._texts: dict[Role, dict[str, list[tuple[str, str]]]] = {role: defaultdict(list) for role in Role}
        self._links: dict[Role, dict[str, list[str]]] = {role: defaultdict(list) for role in Role}
        self._blank: set[str] = set()

    def add(self, subject: Node, predicate: Node, object_: Node) -> None:
        """Keeps a triple whose predicate has a role."""
        from rdflib.term import BNode, Literal

        role = _ROLES.get(str(predicate))
        if role is None:
            return
        # Addresses and languages come again and again: one object for each.
        resource, value = sys.intern(str(subject)), str(object_)
        if isinstance(subject, BNode):
            self._blank.add(resource)
        if role is Role.NAME and str(predicate).startswith(_PREFIXES["gnd"]):
            self._links[Role.TYPE][resource].append(_CONCEPT)
        if isinstance(object_, Literal):
            language = sys.intern((object_.language or "").lower())
            # A name may be needed in any language, other texts only in those asked for.
            if role in (Role.NAME, Role.VALUE) or _rank(language, self._languages) <= self._untagged:
                self._texts[role][resource].append((value, language))
        elif role is Role.NARROWER:
            self._links[Role.BROADER][sys.intern(value)].append(resource)
        elif role is Role.SUBCLASS:
            self._links[role][sys.intern(value)].append(resource)
        elif role is not Role.TYPE or value not in _NON_CONCEPT_TYPES:
            self._links[role][resource].append(sys.intern(value))

    def labels(self, path: Path) -> tuple[list[Label], SkosCounts]:
        """The labels, and the counts of what was read."""
        kinds = self._kinds()
        concepts = sorted(resource for resource, kind in kinds.items() if kind == "concept")
        if not concepts:
            raise LabelSpaceError(path, "no SKOS concepts", "give a file with resources of type skos:Concept")
        addressed = [resource for resource in concepts if resource not in self._blank]
        deprecated = {
            resource
            for resource, texts in self._texts[Role.DEPRECATED].items()
            if any(text.strip().lower() in ("true", "1") for text, _ in texts)
        }
        left = [resource for resource in addressed if resource not in deprecated]
        names = {resource: found for resource in left if (found := self._ranked(Role.NAME, resource))}
        if not names:
            raise LabelSpaceError(path, "no concept has a name", "give a file with skos:prefLabel")
        frequency = Counter(language for texts in names.values() for _, language, _ in texts)

        def preference(text: tuple[int, str, str]) -> tuple[int, int, str, str]:
            rank, language, name = text
            # Of other languages, the most frequent one of the file, so that few are mixed.
            return rank, len(language) if rank <= self._untagged else -frequency[language], language, name

        named_in: Counter[str] = Counter()
        labels, fallbacks, dropped = [], 0, 0
        for resource, texts in names.items():
            rank, language, name = min(texts, key=preference)
            named_in[language or UNTAGGED] += 1
            fallbacks += rank > self._untagged
            broader = set(self._links[Role.BROADER].get(resource, ())) - {resource}
            parents = sorted(broader & names.keys())
            dropped += len(broader) - len(parents)
            aliases = [alias for alias in self._aliases(resource, texts, rank) if alias != name]
            try:
                label = Label(
                    id=resource,
                    name=name,
                    description=self._description(resource),
                    aliases=tuple(dict.fromkeys(aliases)),
                    parents=tuple(parents),
                )
            except ValidationError as e:
                problem, hint = explain(e)
                raise LabelSpaceError(path, f"concept {resource!r}: {problem}", hint) from e
            labels.append(label)
        counts = Counter(kinds.values())
        return labels, SkosCounts(
            languages=self._languages,
            concepts=len(concepts),
            labels=len(labels),
            named_in=dict(named_in.most_common()),
            fallbacks=fallbacks,
            deprecated=len(addressed) - len(left),
            unnamed=len(left) - len(names),
            blank=len(concepts) - len(addressed),
            parents_dropped=dropped,
            schemes=counts["scheme"],
            collections=counts["collection"],
            others=counts["other"],
        )

    def _kinds(self) -> dict[str, str]:
        """The kind of each resource with a type or a name."""
        concept_types, pending = {_CONCEPT}, [_CONCEPT]
        while pending:
            new = set(self._links[Role.SUBCLASS].get(pending.pop(), ())) - concept_types
            concept_types |= new
            pending += new
        classes = {"concept": concept_types, "scheme": _SCHEMES, "collection": _COLLECTIONS}
        types = self._links[Role.TYPE]
        named = {**self._texts[Role.NAME], **self._links[Role.NAME]}
        kinds = {}
        for resource in {**types, **named}:
            # A resource with a preferred label and without a type is a concept.
            own = types.get(resource, [_CONCEPT])
            found = (kind for kind, members in classes.items() if not members.isdisjoint(own))
            kinds[resource] = next(found, "other" if resource in named else "not named")
        return kinds

    def _ranked(self, role: Role, resource: str) -> list[tuple[int, str, str]]:
        """Rank, language and cleaned text of all texts with a role, those of SKOS-XL labels included."""
        texts = list(self._texts[role].get(resource, ()))
        for address in self._links[role].get(resource, ()):
            stated = [value for value, _ in self._texts[Role.VALUE_LANGUAGE].get(address, ())]
            language = next(iter(stated + self._links[Role.VALUE_LANGUAGE].get(address, [])), "").lower()
            values = self._texts[Role.VALUE].get(address, ())
            texts += [(value, own_language or language) for value, own_language in values]
        cleaned = ((language, one_line(clean(text))) for text, language in texts)
        return [(_rank(language, self._languages), language, text) for language, text in cleaned if text]

    def _aliases(self, resource: str, names: list[tuple[int, str, str]], rank: int) -> list[str]:
        """Aliases in the language of the name, else in the first that has some, and untagged ones."""
        aliases: list[str] = []
        for texts in (names, self._ranked(Role.ALIAS, resource), self._ranked(Role.HIDDEN, resource)):
            wanted = [text for text in texts if text[0] <= self._untagged]
            first = rank if rank <= self._untagged else min(wanted, default=(rank,))[0]
            # Sorted, because a graph has no order.
            aliases += sorted({text for own, _, text in wanted if own in (first, self._untagged)})
        return aliases

    def _description(self, resource: str) -> str | None:
        notes = [
            (rank, place, text)
            for place, role in enumerate(_NOTES)
            for rank, _, text in self._ranked(role, resource)
            if rank <= self._untagged
        ]
        return min(notes)[2] if notes else None
