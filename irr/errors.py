"""The error tree: every failure a user can cause or meet, in one line that says what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class IrrError(Exception):
    """Base of every error that `irr` raises on purpose.

    Attributes:
        message: What is wrong, in one line.
        hint: What to change, in one line; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message}: {hint}" if hint else message)

    def __reduce__(self) -> tuple[Any, ...]:
        # As it is, without a second call of an __init__ that takes other arguments: errors cross processes.
        return (type(self).__new__, (type(self), *self.args), self.__dict__)


class UsageError(IrrError):
    """The call contradicts itself or names something that does not exist."""


class InputError(IrrError):
    """A file that was given cannot be used as it is.

    Attributes:
        path: The file.
        problem: What is wrong, without the place.
        row: The line in it, from 1; None when the file as a whole is meant.
    """

    def __init__(self, path: str | Path, message: str, hint: str, row: int | None = None) -> None:
        self.path = str(path)
        self.row = row
        self.problem = message
        where = self.path if row is None else f"{self.path}, row {row}"
        super().__init__(f"{where}: {message}", hint)


class LabelSpaceError(InputError):
    """The labels are not a usable label space."""


class TextsError(InputError):
    """The file of texts, or of texts with gold labels, cannot be read."""


class OutputError(InputError):
    """The output cannot be written where it was asked for."""


class OtherRunError(OutputError):
    """The output is of another run, which only a restart would replace."""


class EncoderError(IrrError):
    """The encoder cannot be loaded, or does not give one vector a text."""


class LabelIndexError(IrrError):
    """The label index cannot be built or opened."""


class MissingExtraError(IrrError):
    """Something needs a package that is not installed; the hint is its pip line."""


# Codes of errors after which the same request may go well a little later.
NO_ANSWER = frozenset({"unreachable", "timeout", "rate_limited", "server_error"})


class LMError(IrrError):
    """A language model gave no usable answer.

    Attributes:
        code: What went wrong. `unreachable`, `timeout`, `rate_limited` and `server_error`: no answer came.
            `bad_request`, `too_long`, `truncated`, `unparsable`, `empty` and `unrecorded`: none of use came.
        retryable: Whether no answer came, so that the same request may go well a little later.
    """

    def __init__(self, code: str, message: str, hint: str = "", retryable: bool = False) -> None:
        self.code = code
        self.retryable = retryable
        super().__init__(message, hint)


class LMUnavailableError(LMError):
    """The model is unavailable, so that every further request would fail: the whole call ends.

    The code is `refused` (the server refuses the key, the model or the address) or `down` (the server is
    down for longer than the patience allows).
    """


class BudgetSpentError(IrrError):
    """No further request to a language model is allowed: a budget is spent, or its user stopped it."""


class ProgramError(IrrError):
    """A frozen program's directory cannot be written or loaded."""
