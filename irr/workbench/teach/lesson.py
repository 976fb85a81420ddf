"""The answers of teaching models: kept in a file beside the examples, and within a budget of calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from irr import LanguageModel
from irr.errors import OutputError
from irr.lm.budget import Budget, MeteredModel
from irr.lm.memory import Answers, RememberingModel
from irr.types import Usage

# The models of infer and of rank.
Models = tuple[LanguageModel | None, LanguageModel | None]


@dataclass(frozen=True)
class Taught:
    """The result of teaching.

    Attributes:
        examples: Examples in the output.
        asked: Texts to label, or labels to write for, that were done.
        errors: The number of these without an answer.
        stopped: The reason for an early end; "" if there was none.
        usage: The cost of all requests, those of earlier calls included.
    """

    examples: int
    asked: int
    errors: int
    stopped: str
    usage: Usage


class Lesson:
    """The answers of models for one output; they are kept until it is complete, so that none is paid for twice.

    Args:
        output: The output, a JSONL file.
        calls: Requests that may be sent, those of earlier calls included; any number if None.
        restart: Whether to discard the answers of earlier calls.

    Raises:
        OutputError: If the output is not a JSONL file, or the file for the answers holds something else.
    """

    def __init__(self, output: str, calls: int | None = None, restart: bool = False) -> None:
        if not output.endswith(".jsonl"):
            raise OutputError(output, "is not a JSONL file", "name the examples FILE.jsonl")
        self._path = Path(f"{output}.lm")
        self._answers = Answers(self._path)
        if restart:
            self._answers.forget()
        self._calls = calls
        self._budget = Budget(calls, spent=len(self._answers))

    @property
    def begun(self) -> bool:
        """Whether an earlier call left answers."""
        return len(self._answers) > 0

    @property
    def left(self) -> int | None:
        """The requests that may still be sent; None for any number."""
        return None if self._calls is None else self._calls - self._answers.spent.calls

    @property
    def usage(self) -> Usage:
        """The cost of all requests, those of earlier calls included."""
        return self._answers.spent

    def within_budget(self, models: Models) -> Models:
        """The models within the budget; one model for both stages stays one."""
        known = {id(m): RememberingModel(MeteredModel(m, self._budget), self._answers) for m in models if m}
        infer, rank = (known[id(model)] if model else None for model in models)
        return infer, rank

    def end(self, stopped: str) -> None:
        """Removes the kept answers, unless the budget was spent before the output was complete."""
        if not stopped:
            self._path.unlink(missing_ok=True)
