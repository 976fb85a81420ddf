"""Refusals: every way in which a request is not answered, as the error of a row and an HTTP status."""

from __future__ import annotations

from typing import Any

from irr.errors import IrrError, LMUnavailableError, OutputError
from irr.types import RowError


class Refusal(Exception):  # noqa: N818 - it is no failure
    """A request that is not answered.

    Attributes:
        status: The HTTP status.
        error: What is wrong, and what to change.
        headers: Of the answer.
    """

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        self.status = status
        self.error = RowError(code=code, message=message)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(message)

    @property
    def body(self) -> dict[str, Any]:
        """The row that says so."""
        return {"id": None, "labels": [], "error": self.error.model_dump()}


def refusal_of(error: Exception) -> Refusal:
    """What an error means to the caller of the service."""
    match error:
        case Refusal():
            return error
        case LMUnavailableError():
            return Refusal(503, "model_unavailable", str(error), retry_after="60")
        case OutputError():
            return Refusal(507, "not_written", str(error))
        case IrrError():
            return Refusal(400, "bad_request", str(error))
    return Refusal(
        500, "internal", f"an error inside irr ({type(error).__name__}): see the log of the service"
    )
