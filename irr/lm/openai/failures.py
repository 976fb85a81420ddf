"""Turns the replies of a model server that hold no answer into errors with stable codes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import urlsplit

from irr.errors import LMError, LMUnavailableError
from irr.lm.openai.address import KEY_VARIABLE, quoted

NEEDS_VLLM = "choose another --rank-method, or serve the model with a recent vLLM"
_TOO_LONG = ("context length", "context_length", "max_model_len", "too long", "maximum context")


@dataclass(frozen=True)
class Reply:
    """A server's reply of any status, and the seconds that it took."""

    status: int
    body: bytes
    seconds: float
    retry_after: float | None = None


def failure_of(reply: Reply, url: str) -> LMError:
    """The error that a reply of a status other than 200 means."""
    status, said = reply.status, _said(reply.body)
    if status in (401, 403):
        # The server's own message is left out: it may hold a part of the key.
        hint = f"set {KEY_VARIABLE} to a key that it takes"
        return LMUnavailableError("refused", f"the model server refuses the key ({status})", hint)
    if status == 404 and "model" in said.lower():
        return LMUnavailableError("refused", f"no such model: {said}", "correct openai/MODEL")
    if status in (404, 405, 501) or 300 <= status < 400:
        path = urlsplit(url).path
        hint = "correct --api-base" if path.endswith("/chat/completions") else NEEDS_VLLM
        return LMUnavailableError("refused", f"the model server has no {path} ({status})", hint)
    if status == 413 or (status == 400 and any(sign in said.lower() for sign in _TOO_LONG)):
        return LMError("too_long", f"the prompt is too long for the model: {said}")
    if status == 429:
        return LMError("rate_limited", "the server asks for fewer requests", "lower --concurrency", True)
    if status == 408 or status >= 500:
        code = "timeout" if status in (408, 504) else "server_error"
        return LMError(code, f"the server failed ({status}): {said}", retryable=True)
    return LMError("bad_request", f"the server did not accept the request ({status}): {said}")


def _said(body: bytes) -> str:
    """The server's own message, printable and without the key."""
    text = body[:10_000].decode("utf-8", "replace")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        error = answer.get("error", answer)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    return quoted(text)
