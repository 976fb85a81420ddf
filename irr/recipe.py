"""What a program is made of besides its label space: all that its answers depend on, as data."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import BaseModel, ConfigDict

from irr.config import Settings
from irr.prompts.pack import TaskPack
from irr.types import Example

# Raised with every change of the formulas or prompts: programs frozen before are then refused.
ALGORITHM = 1


class Model(BaseModel):
    """A model by name.

    Attributes:
        name: As it is opened by.
        revision: What its weights hash to; None where they are a server's business.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    revision: str | None = None


class Recipe(BaseModel):
    """A program without its label space.

    Attributes:
        algorithm: The version of the formulas.
        encoder: What queries and labels are encoded with.
        infer: The language model that proposes terms, if one does.
        rank: The language model that orders candidates, if one does.
        settings: The numbers.
        task: What the language models are told; None where there are none.
        examples: Labelled texts that speak for their labels, and that language models may be shown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: int = ALGORITHM
    encoder: Model
    infer: Model | None = None
    rank: Model | None = None
    settings: Settings = Settings()
    task: TaskPack | None = None
    examples: tuple[Example, ...] = ()

    def digest(self, fingerprint: str) -> str:
        """SHA-256 of this and a label space's fingerprint: programs of one digest answer alike."""
        return hashlib.sha256(f"{fingerprint}\n{self.model_dump_json()}".encode()).hexdigest()


def model_of(model: Any) -> Model:
    """A model by its name, and by its revision where it knows one."""
    return Model(name=model.name, revision=getattr(model, "revision", None))
