"""A judgment: what one person said of one text, and all that it was said on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from irr.io.texts import TextId
from irr.types import LabelId

# The name of a file holds 255 bytes on most systems.
_LONGEST_NAME = 200


class Verdict(StrEnum):
    """What a person said of a text."""

    LABELS = "labels"
    NONE_FITS = "none_fits"
    UNSURE = "unsure"
    UNDONE = "undone"


class Order(StrEnum):
    """By what a text was chosen to be reviewed."""

    LISTED = "listed"
    UNSURE = "unsure"
    RANDOM = "random"
    DIFFERENT = "different"
    LABEL = "label"
    SECOND = "second"


class Proposal(BaseModel):
    """A label that the program proposed, as it was shown; no probability where it is not calibrated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: LabelId
    name: str
    score: float
    probability: float | None = None


def _reviewer(name: str) -> str:
    name = " ".join(name.split())
    if not name or not name.isprintable():
        raise ValueError("is no name")
    if len(quote(name, safe="")) > _LONGEST_NAME:
        raise ValueError("is too long")
    return name


Key = Annotated[str, Field(min_length=1, max_length=100)]
Note = Annotated[str, Field(max_length=10_000)]
Reviewer = Annotated[str, AfterValidator(_reviewer)]


class Judgment(BaseModel):
    """What one person said of one text: a line of their file.

    Attributes:
        key: Told by the page, one for each judgment: what is sent twice is kept once.
        reviewer: Who judged.
        at: When, in UTC.
        text_id: The id of the text.
        text: The text.
        verdict: What they said; `undone` takes the judgment `undoes` back.
        labels: The right labels, for the verdict `labels`.
        rejected: Labels that they said are wrong; what they did not accept is taken to be wrong all the same.
        note: What they wrote beside it.
        order: By what the text was chosen.
        seed: Of the random order of texts.
        seconds: How long the text was shown; None if that is not known.
        program: Digest of the program that proposed.
        proposed: What it proposed, best first.
        given: The labels that the text came with; None if it came without.
        undoes: The key of the judgment that this one takes back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    key: Key
    reviewer: Reviewer
    at: datetime
    text_id: TextId
    text: str
    verdict: Verdict
    labels: tuple[LabelId, ...] = ()
    rejected: tuple[LabelId, ...] = ()
    note: Note = ""
    order: Order
    seed: int = 0
    seconds: Annotated[float, Field(ge=0)] | None = None
    program: str
    proposed: tuple[Proposal, ...] = ()
    given: tuple[LabelId, ...] | None = None
    undoes: str | None = None


def standing(judgments: Iterable[Judgment]) -> list[Judgment]:
    """The judgments that hold: of each person and text the last one that was not taken back.

    Args:
        judgments: In the order in which they were made, by person at least.

    Returns:
        In the same order.
    """
    made = list(judgments)
    undone = {one.undoes for one in made if one.verdict is Verdict.UNDONE}
    last = {
        (one.reviewer, one.text_id): one
        for one in made
        if one.verdict is not Verdict.UNDONE and one.key not in undone
    }
    return sorted(last.values(), key=lambda one: one.at)
