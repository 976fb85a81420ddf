"""The recipe of a program: everything besides its label space that its answers depend on, as data."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import BaseModel, ConfigDict

from irr.config import Settings
from irr.prompts.pack import TaskPack
from irr.retrieve.combination import PLAIN, Combination
from irr.types import Example

# The version of formulas and prompts; a change raises it, and programs frozen before are refused.
ALGORITHM = 4


class Model(BaseModel):
    """A model by name.

    Attributes:
        name: The name that opens it.
        revision: The hash of its weights; None for a served model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    revision: str | None = None


class Recipe(BaseModel):
    """A program without its label space.

    Attributes:
        algorithm: The version of the formulas.
        encoder: The encoder of queries and labels.
        infer: The language model that proposes terms, if one does.
        rank: The language model that orders candidates, if one does.
        settings: The settings of all stages.
        combination: The weights of the features.
        stages: The classes of the three stages.
        custom: The caller's own part, which has no name; "" if there is none.
        task: The task pack of the language models; None without them.
        examples: Labelled texts that count as evidence for their labels and can be shown to language models.
        leave_one_out: Whether an example counts for other texts only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: int = ALGORITHM
    encoder: Model
    infer: Model | None = None
    rank: Model | None = None
    settings: Settings = Settings()
    combination: Combination = PLAIN
    stages: tuple[str, ...] = ()
    custom: str = ""
    task: TaskPack | None = None
    examples: tuple[Example, ...] = ()
    leave_one_out: bool = False

    def digest(self, fingerprint: str) -> str:
        """SHA-256 of this and a label space's fingerprint: programs of one digest answer alike."""
        return hashlib.sha256(f"{fingerprint}\n{self.model_dump_json()}".encode()).hexdigest()


def model_of(model: Any) -> Model:
    """A model by its name, and by its revision where it knows one."""
    return Model(name=model.name, revision=getattr(model, "revision", None))
