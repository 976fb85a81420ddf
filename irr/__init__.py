"""irr puts any text into a large label space: infer, retrieve, rank."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irr.calibrate.selection import Decision
    from irr.config import Settings
    from irr.encoders.base import Encoder
    from irr.encoders.sentence_transformers import SentenceEncoder
    from irr.errors import IrrError
    from irr.frozen.freeze import freeze, load
    from irr.labels.space import LabelSpace
    from irr.lm.openai.limits import Limits
    from irr.lm.protocol import LanguageModel
    from irr.lm.registry import open_model
    from irr.program.build import build
    from irr.program.program import InferRetrieveRank
    from irr.rank.base import Ranker
    from irr.types import Candidate, Label, Prediction, RankedLabel

__version__ = "0.1.0"

# Loaded at first use, so that `import irr` costs next to nothing.
_HOMES = {
    "Candidate": "types",
    "Decision": "calibrate.selection",
    "Encoder": "encoders.base",
    "InferRetrieveRank": "program.program",
    "IrrError": "errors",
    "Label": "types",
    "LabelSpace": "labels.space",
    "LanguageModel": "lm.base",
    "Limits": "lm.openai.limits",
    "Prediction": "types",
    "RankedLabel": "types",
    "Ranker": "rank.base",
    "SentenceEncoder": "encoders.sentence_transformers",
    "Settings": "config",
    "build": "program.build",
    "freeze": "frozen.freeze",
    "load": "frozen.freeze",
    "open_model": "lm.registry",
}

__all__ = [
    "Candidate",
    "Decision",
    "Encoder",
    "InferRetrieveRank",
    "IrrError",
    "Label",
    "LabelSpace",
    "LanguageModel",
    "Limits",
    "Prediction",
    "RankedLabel",
    "Ranker",
    "SentenceEncoder",
    "Settings",
    "__version__",
    "build",
    "freeze",
    "load",
    "open_model",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"irr.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'irr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
