"""DSPy calls to one model, with answers held to the schema that they send and no history."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from irr.program.dspy_module import LeanJSONAdapter, prepare_dspy


def dspy_context(lm: Any) -> AbstractContextManager[None]:
    context: AbstractContextManager[None] = prepare_dspy().context(
        lm=lm, adapter=LeanJSONAdapter(), disable_history=True, trace=None
    )
    return context
