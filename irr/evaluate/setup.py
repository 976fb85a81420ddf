"""The setup of an evaluation, shown beside its scores: name, gold, labels, models and settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from irr.config import Settings
from irr.evaluate.compare import Comparison
from irr.evaluate.evaluate import Evaluation
from irr.io.texts import GoldRow
from irr.program.program import InferRetrieveRank
from irr.text.words import clean
from irr.version import __version__


class Setup(BaseModel):
    """The setup of an evaluation.

    Attributes:
        name: The user's name for it; None if there is none.
        program: The digest of the program.
        gold: The file of texts with gold labels.
        labels: The label file, or the frozen program with the labels.
        label_count: The number of labels.
        fingerprint: The label space's fingerprint.
        encoder: Name of the encoder.
        infer_lm: Name of the language model that proposes terms, if one does.
        rank_lm: Name of the language model that orders candidates, if one does.
        examples: The number of the program's examples.
        left_out: Texts that are among them, each of which was scored without its own example.
        settings: Every setting by its dotted name.
    """

    model_config = ConfigDict(frozen=True)

    name: str | None
    program: str
    gold: str
    labels: str
    label_count: int
    fingerprint: str
    encoder: str
    infer_lm: str | None
    rank_lm: str | None
    examples: int
    left_out: int
    settings: dict[str, Any]

    @classmethod
    def of(
        cls,
        program: InferRetrieveRank,
        rows: Sequence[GoldRow],
        *,
        name: str | None,
        gold: Path,
        labels: Path,
    ) -> Setup:
        """The setup of a program and texts with gold."""
        return cls(
            name=name,
            program=program.digest,
            gold=str(gold),
            labels=str(labels),
            label_count=len(program.space),
            fingerprint=program.space.fingerprint,
            encoder=program.encoder.name,
            infer_lm=program.models.infer_lm.name if program.models.infer_lm else None,
            rank_lm=program.models.rank_lm.name if program.models.rank_lm else None,
            examples=len(program.examples),
            left_out=known_texts(program, rows),
            settings=program.settings.flat(),
        )

    @property
    def title(self) -> str:
        """Its name, or its labels, models and settings; and the gold."""
        return f"{self.name or self._parts} on {Path(self.gold).name}"

    @property
    def _parts(self) -> str:
        default = Settings().flat()
        changed = (f"{name}={value}" for name, value in self.settings.items() if value != default.get(name))
        models = (f"{stage} {lm}" for stage, lm in (("infer", self.infer_lm), ("rank", self.rank_lm)) if lm)
        return ", ".join([Path(self.labels).stem, *models, *changed])

    def as_json(self) -> dict[str, Any]:
        """The setup as JSON has it."""
        return {
            "name": self.name,
            "program": self.program,
            "gold": self.gold,
            "labels": {"file": self.labels, "count": self.label_count, "fingerprint": self.fingerprint},
            "models": {"encoder": self.encoder, "infer": self.infer_lm, "rank": self.rank_lm},
            "examples": {"count": self.examples, "left_out": self.left_out},
            "settings": self.settings,
            "irr": __version__,
        }


def known_texts(program: InferRetrieveRank, rows: Sequence[GoldRow]) -> int:
    """The number of texts that are examples of the program, letter case and spaces ignored."""
    known = {_folded(example.text) for example in program.examples}
    return sum(_folded(row.text) in known for row in rows)


def _folded(text: str) -> str:
    return " ".join(clean(text).casefold().split())


def as_text(evaluation: Evaluation, setup: Setup, comparisons: Sequence[Comparison] = ()) -> str:
    """An evaluation as JSON, one key a line: metrics, each text's scores, and the setup."""
    fields = {**evaluation.as_json(), **setup.as_json()}
    if comparisons:
        fields["compare"] = [comparison.as_json() for comparison in comparisons]
    lines = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"
