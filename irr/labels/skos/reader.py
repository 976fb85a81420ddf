"""SKOS in: the concepts of an RDF file as labels in the wanted languages, and counts of what was left out."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from irr.errors import LabelSpaceError
from irr.io.validation import explain
from irr.labels.skos.counts import SkosCounts
from irr.labels.skos.languages import DEFAULT_LANGUAGE, UNTAGGED, Languages, Text
from irr.labels.skos.rdf import read_triples
from irr.labels.skos.terms import (
    COLLECTIONS,
    CONCEPT,
    GND,
    NO_CONCEPTS,
    NOTES,
    ROLES,
    SCHEME,
    Role,
)
from irr.labels.walk import levels
from irr.text.words import clean
from irr.types import Label

if TYPE_CHECKING:
    from rdflib.term import Node


def read_skos(path: Path, language: str = DEFAULT_LANGUAGE) -> tuple[list[Label], SkosCounts]:
    """Reads the concepts of a SKOS file, sorted by their address, which is their id.

    A name is in the first of the languages that has one, else untagged, else in any. Aliases are in the
    language of the name, a description is in the first of the languages that has one; either may be untagged.

    Args:
        path: The file, its format named by its ending.
        language: Language tags, most wanted first, with commas between; `en` takes `en-GB`, too.

    Raises:
        LabelSpaceError: If the file cannot be read, or holds no named concepts.
        UsageError: If a language tag is malformed.
    """
    things = _Things(Languages(language))
    read_triples(path, things.add)
    return things.labels(path)


class _Things:
    """The triples about names, notes, parents and types; a plain str is the address of another thing."""

    def __init__(self, languages: Languages) -> None:
        self._languages = languages
        self._said: dict[Role, dict[str, list[str]]] = {role: {} for role in Role}
        self._blank: set[str] = set()

    def add(self, subject: Node, predicate: Node, object_: Node) -> None:
        """Keeps a triple if it matters."""
        from rdflib.term import BNode, Literal

        role = ROLES.get(str(predicate))
        if role is None:
            return
        # Addresses and languages come again and again: one object for each.
        thing, value = sys.intern(str(subject)), str(object_)
        if isinstance(object_, Literal):
            if role in (Role.TYPE, Role.SUBCLASS, Role.BROADER, Role.NARROWER):
                return
            language = sys.intern((object_.language or "").lower())
            # A name may be needed in any language, other texts only in the wanted ones.
            if role not in (Role.NAME, Role.VALUE) and self._languages.rank(language) is None:
                return
            value = Text(value, language)
        elif role is Role.TYPE and value in NO_CONCEPTS:
            return
        else:
            value = sys.intern(value)
        if isinstance(subject, BNode):
            self._blank.add(thing)
        if role is Role.NAME and str(predicate).startswith(GND):
            self._said[Role.TYPE].setdefault(thing, []).append(CONCEPT)
        if role is Role.NARROWER:
            self._said[Role.BROADER].setdefault(value, []).append(thing)
        else:
            self._said[role].setdefault(thing, []).append(value)

    def labels(self, path: Path) -> tuple[list[Label], SkosCounts]:
        """The labels, and the counts of what was read."""
        kinds = self._kinds()
        concepts = sorted(thing for thing, kind in kinds.items() if kind == CONCEPT)
        if not concepts:
            raise LabelSpaceError(path, "no SKOS concepts", "give a file with resources of type skos:Concept")
        blank = self._blank.intersection(concepts)
        deprecated = {thing for thing in concepts if thing not in blank and self._is_deprecated(thing)}
        left = [thing for thing in concepts if thing not in blank and thing not in deprecated]
        names = {thing: found for thing in left if (found := self._texts(Role.NAME, thing))}
        if not names:
            raise LabelSpaceError(path, "no concept has a name", "give a file with skos:prefLabel")
        frequency = Counter(text.language for texts in names.values() for text in texts)
        named_in: Counter[str] = Counter()
        labels, fallbacks, dropped = [], 0, 0
        for thing, texts in names.items():
            first = min(texts, key=lambda text: self._preference(text, frequency))
            named_in[first.language or UNTAGGED] += 1
            fallbacks += self._languages.rank(first.language) is None
            broader = set(self._said[Role.BROADER].get(thing, ())) - {thing}
            parents = sorted(parent for parent in broader if parent in names)
            dropped += len(broader) - len(parents)
            labels.append(self._label(path, thing, first, texts, parents))
        counts = Counter(kinds.values())
        return labels, SkosCounts(
            languages=self._languages.tags,
            concepts=len(concepts),
            labels=len(labels),
            named_in=dict(named_in.most_common()),
            fallbacks=fallbacks,
            deprecated=len(deprecated),
            unnamed=len(left) - len(names),
            blank=len(blank),
            parents_dropped=dropped,
            schemes=counts[SCHEME],
            collections=counts[COLLECTIONS[0]],
            others=counts[""],
        )

    def _label(self, path: Path, thing: str, name: Text, names: list[Text], parents: list[str]) -> Label:
        rank = self._languages.rank(name.language)
        aliases = dict.fromkeys(self._of_rank(names, rank))
        for role in (Role.ALIAS, Role.HIDDEN):
            texts = self._texts(role, thing)
            own = rank if rank is not None else min(self._ranks(texts), default=None)
            aliases.update(dict.fromkeys(self._of_rank(texts, own)))
        aliases.pop(str(name), None)
        notes = [
            (rank, place, str(text))
            for place, role in enumerate(NOTES)
            for text in self._texts(role, thing)
            if (rank := self._languages.rank(text.language)) is not None
        ]
        try:
            return Label(
                id=thing,
                name=str(name),
                description=min(notes)[2] if notes else None,
                aliases=tuple(aliases),
                parents=tuple(parents),
            )
        except ValidationError as e:
            problem, hint = explain(e)
            raise LabelSpaceError(path, f"concept {thing!r}: {problem}", hint) from e

    def _kinds(self) -> dict[str, str]:
        """The kind of each thing with a type or a name: a concept, a scheme, a collection, or ""."""
        concepts = self._subclasses(CONCEPT)
        kinds = {}
        types = self._said[Role.TYPE]
        for thing in {**types, **self._said[Role.NAME]}:
            own = types.get(thing, ())
            if not own or concepts.intersection(own):
                # A thing with a preferred label and without a type is a concept.
                kinds[thing] = CONCEPT
            elif SCHEME in own:
                kinds[thing] = SCHEME
            elif any(collection in own for collection in COLLECTIONS):
                kinds[thing] = COLLECTIONS[0]
            elif thing in self._said[Role.NAME]:
                kinds[thing] = ""
        return kinds

    def _subclasses(self, of: str) -> set[str]:
        below: dict[str, list[str]] = {}
        for child, parents in self._said[Role.SUBCLASS].items():
            for parent in parents:
                below.setdefault(parent, []).append(child)
        return {kind for level in levels([of], lambda kind: below.get(kind, ())) for kind in level}

    def _is_deprecated(self, thing: str) -> bool:
        return any(
            value.strip().lower() in ("true", "1") for value in self._said[Role.DEPRECATED].get(thing, ())
        )

    def _texts(self, role: Role, thing: str) -> list[Text]:
        """The cleaned texts that play a role for a thing, those of SKOS-XL labels included."""
        texts = []
        for value in self._said[role].get(thing, ()):
            if isinstance(value, Text):
                texts.append(value)
            else:
                language = next(iter(self._said[Role.VALUE_LANGUAGE].get(value, ())), "").lower()
                texts += [
                    Text(text, text.language or language)
                    for text in self._said[Role.VALUE].get(value, ())
                    if isinstance(text, Text)
                ]
        cleaned = (Text(" ".join(clean(text).split()), text.language) for text in texts)
        return [text for text in cleaned if text]

    def _ranks(self, texts: Iterable[Text]) -> list[int]:
        return [rank for text in texts if (rank := self._languages.rank(text.language)) is not None]

    def _of_rank(self, texts: Iterable[Text], rank: int | None) -> list[str]:
        """Texts in the language of this rank, and untagged ones, sorted: a graph has no order."""
        if rank is None:
            return []
        return sorted(
            {
                str(text)
                for text in texts
                if self._languages.rank(text.language) in (rank, self._languages.untagged)
            }
        )

    def _preference(self, text: Text, frequency: Counter[str]) -> tuple[int, int, int, str, str]:
        rank = self._languages.rank(text.language)
        if rank is None:
            # The most frequent language of the file, so that few languages are mixed.
            return self._languages.untagged + 1, -frequency[text.language], 0, text.language, str(text)
        return rank, 0, len(text.language), text.language, str(text)
