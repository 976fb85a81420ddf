"""The specification of a program: everything besides its label space that its answers depend on."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from irr.config import Settings
from irr.encoders.base import Encoder
from irr.lm.protocol import LanguageModel
from irr.prompts.pack import TaskPack
from irr.rank.ranker import Ranker
from irr.retrieve.features import PLAIN, Combination
from irr.types import Example

# The version of formulas and prompts; a change raises it, and programs frozen before are refused.
ALGORITHM = 1


class Models(NamedTuple):
    """The models of a program; a stage without one asks none. `ranker` is the caller's own."""

    encoder: Encoder
    infer_lm: LanguageModel | None = None
    rank_lm: LanguageModel | None = None
    ranker: Ranker | None = None

    @property
    def language_models(self) -> list[LanguageModel]:
        """The language models of both stages."""
        return [model for model in (self.infer_lm, self.rank_lm) if model]


class ModelName(BaseModel):
    """A model by the name that opens it and the hash of its weights, None for a served model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    revision: str | None = None

    @classmethod
    def of(cls, model: Any) -> ModelName:
        """A model by its name, and by its revision where it knows one."""
        return cls(name=model.name, revision=getattr(model, "revision", None))


class ProgramSpec(BaseModel):
    """A program without its label space.

    Attributes:
        algorithm: The version of the formulas.
        infer: The language model that proposes terms, if one does.
        rank: The language model that orders candidates, if one does.
        ranker: The class of the caller's own ranker; "" without one.
        task: The task pack of the language models; None without them.
        examples: Labelled texts that count as evidence for their labels and can be shown to language models.
        leave_one_out: Whether an example counts for other texts only.
        part: Ids of the labels that texts may get, sorted; None for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: int = ALGORITHM
    encoder: ModelName
    infer: ModelName | None = None
    rank: ModelName | None = None
    ranker: str = ""
    settings: Settings = Settings()
    combination: Combination = PLAIN
    task: TaskPack | None = None
    examples: tuple[Example, ...] = ()
    leave_one_out: bool = False
    part: tuple[str, ...] | None = None

    @classmethod
    def of(cls, models: Models, **parts: Any) -> ProgramSpec:
        """The specification of a program with these models and other parts."""
        names = {
            "encoder": ModelName.of(models.encoder),
            "infer": ModelName.of(models.infer_lm) if models.infer_lm else None,
            "rank": ModelName.of(models.rank_lm) if models.rank_lm else None,
            "ranker": type(models.ranker).__qualname__ if models.ranker else "",
        }
        return cls(**names, **parts)

    def replace(self, **changes: Any) -> ProgramSpec:
        """This specification with other parts."""
        return self.model_copy(update=changes)

    def digest(self, fingerprint: str) -> str:
        """SHA-256 of this and a label space's fingerprint: programs with one digest answer alike."""
        return hashlib.sha256(f"{fingerprint}\n{self.model_dump_json()}".encode()).hexdigest()
