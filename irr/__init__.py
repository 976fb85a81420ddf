"""irr puts any text into a large label space: infer, retrieve, rank."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from irr.version import __version__

if TYPE_CHECKING:
    from irr.calibration.decision import Decision as Decision
    from irr.calibration.fit import calibrate as calibrate
    from irr.config import Settings as Settings
    from irr.encoders.base import Encoder as Encoder
    from irr.encoders.sentence_transformers import SentenceEncoder as SentenceEncoder
    from irr.errors import IrrError as IrrError
    from irr.evaluation.evaluate import Evaluation as Evaluation
    from irr.evaluation.evaluate import evaluate as evaluate
    from irr.frozen.freeze import freeze as freeze
    from irr.frozen.freeze import load as load
    from irr.infer.spans import SpanInferer as SpanInferer
    from irr.io.texts import GoldRow as GoldRow
    from irr.io.texts import TextRow as TextRow
    from irr.labels.space import LabelSpace as LabelSpace
    from irr.lm.cache import Budget as Budget
    from irr.lm.protocol import LanguageModel as LanguageModel
    from irr.lm.registry import open_model as open_model
    from irr.lm.server_limits import Limits as Limits
    from irr.program.program import InferRetrieveRank as InferRetrieveRank
    from irr.program.program import build as build
    from irr.program.program import from_module as from_module
    from irr.rank.ranker import Ranker as Ranker
    from irr.tune.optimization import Optimized as Optimized
    from irr.tune.optimization import Teachers as Teachers
    from irr.tune.optimization import optimize as optimize
    from irr.tune.prompt_search import Optimizer as Optimizer
    from irr.types import Candidate as Candidate
    from irr.types import Label as Label
    from irr.types import Prediction as Prediction
    from irr.types import RankedLabel as RankedLabel
    from irr.types import Ranking as Ranking
    from irr.workbench.audit.gold_audit import audit as audit
    from irr.workbench.draft.label_draft import DraftPlan as DraftPlan
    from irr.workbench.draft.label_draft import draft as draft

# The public names by module. They are loaded at first use, so that `import irr` costs next to nothing.
_MODULES = {
    "calibration.decision": "Decision",
    "calibration.fit": "calibrate",
    "config": "Settings",
    "encoders.base": "Encoder",
    "encoders.sentence_transformers": "SentenceEncoder",
    "errors": "IrrError",
    "evaluation.evaluate": "Evaluation evaluate",
    "frozen.freeze": "freeze load",
    "infer.spans": "SpanInferer",
    "io.texts": "GoldRow TextRow",
    "labels.space": "LabelSpace",
    "lm.cache": "Budget",
    "lm.protocol": "LanguageModel",
    "lm.registry": "open_model",
    "lm.server_limits": "Limits",
    "program.program": "InferRetrieveRank build from_module",
    "rank.ranker": "Ranker",
    "tune.optimization": "Optimized Teachers optimize",
    "tune.prompt_search": "Optimizer",
    "types": "Candidate Label Prediction RankedLabel Ranking",
    "workbench.audit.gold_audit": "audit",
    "workbench.draft.label_draft": "DraftPlan draft",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"irr.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'irr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
