"""The texts to review: a file of texts, of gold, or what an audit found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from irr.errors import TextsError
from irr.io.texts import TextRow, read_rows
from irr.types import LabelId


class Finding(BaseModel):
    """What an audit says of a label of a text; other keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: str
    label: LabelId
    suspicion: float
    why: str = ""


class ReviewText(TextRow):
    """A text to review, as any file of texts, gold or an audit's list has it."""

    labels: tuple[LabelId, ...] | None = None
    findings: Annotated[tuple[Finding, ...], BeforeValidator(lambda v: () if v is None else v)] = ()


def read_texts(path: Path) -> list[ReviewText]:
    """Reads the texts to review: a file of texts, of gold, or what `irr audit` writes.

    Raises:
        TextsError: With file and row.
    """
    texts = [row for _, row in read_rows(path, ReviewText)]
    if not texts:
        raise TextsError(path, "holds no texts", "give some to review")
    return texts
