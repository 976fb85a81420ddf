"""irr puts any text into a large label space: infer, retrieve, rank."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irr.assembly import build
    from irr.encoder import Encoder, SentenceEncoder
    from irr.errors import IrrError
    from irr.frozen import freeze, load
    from irr.labels import LabelSpace
    from irr.lm import LanguageModel, open_model
    from irr.models.flow import Limits
    from irr.pipeline import InferRetrieveRank
    from irr.rank import Ranker
    from irr.settings import Settings
    from irr.types import Candidate, Label, Prediction, RankedLabel

__version__ = "0.1.0"

# Loaded at first use, so that `import irr` costs next to nothing.
_HOMES = {
    "Candidate": "types",
    "Encoder": "encoder",
    "InferRetrieveRank": "pipeline",
    "IrrError": "errors",
    "Label": "types",
    "LabelSpace": "labels",
    "LanguageModel": "lm",
    "Limits": "models.flow",
    "Prediction": "types",
    "RankedLabel": "types",
    "Ranker": "rank",
    "SentenceEncoder": "encoder",
    "Settings": "settings",
    "build": "assembly",
    "freeze": "frozen",
    "load": "frozen",
    "open_model": "lm",
}

__all__ = [
    "Candidate",
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
