"""The vocabulary of SKOS and its dialects: the role of each predicate, and the types of no concept."""

from __future__ import annotations

from enum import Enum, auto

_SKOS = "http://www.w3.org/2004/02/skos/core#"
_XL = "http://www.w3.org/2008/05/skos-xl#"
_ISO = "http://purl.org/iso25964/skos-thes#"
GND = "https://d-nb.info/standards/elementset/gnd#"
_ESCO = "http://data.europa.eu/esco/model#"
_EUVOC = "http://publications.europa.eu/ontology/euvoc#"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_RDFS = "http://www.w3.org/2000/01/rdf-schema#"


class Role(Enum):
    """The role of a predicate; roles of notes come first, in order of preference."""

    DEFINITION = auto()
    SCOPE_NOTE = auto()
    DESCRIPTION = auto()
    NOTE = auto()
    NAME = auto()
    ALIAS = auto()
    HIDDEN = auto()
    BROADER = auto()
    NARROWER = auto()
    TYPE = auto()
    SUBCLASS = auto()
    DEPRECATED = auto()
    VALUE = auto()
    VALUE_LANGUAGE = auto()


NOTES = (Role.DEFINITION, Role.SCOPE_NOTE, Role.DESCRIPTION, Role.NOTE)
ROLES = {
    _SKOS + "prefLabel": Role.NAME,
    _XL + "prefLabel": Role.NAME,
    _SKOS + "altLabel": Role.ALIAS,
    _XL + "altLabel": Role.ALIAS,
    _SKOS + "hiddenLabel": Role.HIDDEN,
    _XL + "hiddenLabel": Role.HIDDEN,
    _SKOS + "definition": Role.DEFINITION,
    _EUVOC + "xlDefinition": Role.DEFINITION,
    _SKOS + "scopeNote": Role.SCOPE_NOTE,
    "http://purl.org/dc/terms/description": Role.DESCRIPTION,
    _SKOS + "note": Role.NOTE,
    _SKOS + "broader": Role.BROADER,
    _ISO + "broaderGeneric": Role.BROADER,
    _ISO + "broaderPartitive": Role.BROADER,
    _ISO + "broaderInstantial": Role.BROADER,
    _SKOS + "narrower": Role.NARROWER,
    _RDF + "type": Role.TYPE,
    _RDFS + "subClassOf": Role.SUBCLASS,
    "http://www.w3.org/2002/07/owl#deprecated": Role.DEPRECATED,
    # Names and notes may be resources of their own (SKOS-XL, ESCO, EuroVoc), whose text these hold.
    _XL + "literalForm": Role.VALUE,
    _RDF + "value": Role.VALUE,
    _ESCO + "nodeLiteral": Role.VALUE,
    _ESCO + "language": Role.VALUE_LANGUAGE,
    # The predicates of the GND.
    GND + "preferredNameForTheSubjectHeading": Role.NAME,
    GND + "variantNameForTheSubjectHeading": Role.ALIAS,
    GND + "definition": Role.DEFINITION,
    GND + "broaderTermGeneral": Role.BROADER,
    GND + "broaderTermGeneric": Role.BROADER,
    GND + "broaderTermInstantial": Role.BROADER,
    GND + "broaderTermPartitive": Role.BROADER,
}
CONCEPT = _SKOS + "Concept"
SCHEME = _SKOS + "ConceptScheme"
COLLECTIONS = (_SKOS + "Collection", _SKOS + "OrderedCollection")
# Types of millions of resources that are never concepts.
NO_CONCEPTS = frozenset((_XL + "Label", _ESCO + "NodeLiteral", _EUVOC + "XlNote"))
