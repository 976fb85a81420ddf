"""What was read of a SKOS file, and what was not."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from irr.labels.skos.languages import UNTAGGED, Languages


class SkosCounts(BaseModel):
    """What was read of a SKOS file, and what was not.

    Attributes:
        languages: The languages asked for, in order of preference.
        concepts: Concepts in the file.
        labels: How many of them became labels.
        named_in: Labels by the language of their name; `untagged` where the file does not say.
        fallbacks: Labels whose name is in none of the languages asked for, nor untagged.
        deprecated: Concepts left out because they are marked so.
        unnamed: Concepts left out because they have no preferred label at all.
        blank: Concepts left out because they have no address, so nothing to be their id.
        parents_dropped: Broader concepts left out of a label's parents because they are no labels here.
        schemes: Concept schemes, which are no labels.
        collections: Collections, which are no labels.
        others: Named things of other kinds, which are no labels.
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
        """What to change if most names are in another language than was asked for; "" if they are not."""
        if 2 * self.fallbacks <= self.labels:
            return ""
        languages = Languages(",".join(self.languages))
        other = next(tag for tag in self.named_in if tag != UNTAGGED and languages.rank(tag) is None)
        return (
            f"most names are in {other}, not in {', '.join(self.languages)}, and aliases and descriptions "
            f"in {other} were left out: give --language {other}"
        )
