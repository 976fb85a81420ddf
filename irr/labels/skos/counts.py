"""Counts of what was read of a SKOS file and what was left out."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from irr.labels.skos.languages import UNTAGGED, Languages


class SkosCounts(BaseModel):
    """Counts of what was read of a SKOS file and what was left out.

    Attributes:
        languages: The languages asked for, in order of preference.
        concepts: Concepts in the file.
        labels: Concepts that became labels.
        named_in: Labels by the language of their name, or `untagged`.
        fallbacks: Labels with a name in another language than those asked for.
        deprecated: Deprecated concepts, which are left out.
        unnamed: Concepts without a preferred label, which are left out.
        blank: Concepts without an address, and so without an id, which are left out.
        parents_dropped: Parents that are not labels, which are left out.
        schemes: Concept schemes, which are left out.
        collections: Collections, which are left out.
        others: Named resources of other types, which are left out.
    """

    model_config = ConfigDict(frozen=True)

    languages: tuple[str, ...]
    concepts: int
    labels: int
    named_in: dict[str, int]
    fallbacks: int
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
        languages = Languages(",".join(self.languages))
        other = next(tag for tag in self.named_in if tag != UNTAGGED and languages.rank(tag) is None)
        return (
            f"most names are in {other}, not in {', '.join(self.languages)}, and aliases and descriptions "
            f"in {other} were left out: give --language {other}"
        )
