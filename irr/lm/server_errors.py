"""Checks a model server's address and key, words its errors, and keeps the key out of all output."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from urllib.parse import urlsplit

from irr.errors import LMError, LMUnavailableError, UsageError
from irr.text.strings import printable

KEY_VARIABLE = "OPENAI_API_KEY"
NEEDS_VLLM = "choose another `rank_method`, or serve the model with a recent vLLM"
# No run of so many characters of a key is shown.
_RUN = 6
_SHOWN = 300
# Random keys are at least so long, and hold digits.
_LENGTH = 16
_TOO_LONG = ("context length", "context_length", "max_model_len", "too long", "maximum context")


def check_address(api_base: str) -> str:
    """The address of a server, without a slash at its end.

    Raises:
        UsageError: If it is not a plain http(s) URL; the message leaves out what may be secret.
    """
    problem, hint = "", "give http://HOST:PORT/v1"
    try:
        parts = urlsplit(api_base)
        port, host = parts.port, parts.hostname or ""
        host.encode("idna")
        if parts.username or parts.password or parts.query or parts.fragment or "@" in api_base:
            problem = "carries a user, password, query or fragment"
            hint = f"give the plain address, and the key in {KEY_VARIABLE}"
        elif parts.scheme not in ("http", "https") or not host:
            problem = "does not begin with http://HOST"
        elif port == 0 or not api_base.isprintable() or api_base.split() != [api_base]:
            problem = "holds an invalid character or port"
    except ValueError:  # its text may hold what is secret
        problem = "is not a URL with a valid host name and port"
    if problem:
        raise UsageError(f"the address of the model server {problem}", hint)
    return api_base.rstrip("/")


def read_key() -> str:
    """The key in the environment, or "".

    Raises:
        UsageError: If it holds a space, a line break, a control or a non-ASCII character.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        problem = f"the key in {KEY_VARIABLE} holds a space, a line break or a character that is not ASCII"
        raise UsageError(problem, "set it again, the key alone")
    return key


def without_key(text: str) -> str:
    """A text without any run of six or more characters of the key."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    size = min(_RUN, len(key))
    secret = bytearray(len(text))
    for start in range(len(text) - size + 1 if size else 0):
        if text[start : start + size] in key:
            secret[start : start + size] = b"\1" * size
    parts = groupby(range(len(text)), secret.__getitem__)
    return "".join("***" if hidden else "".join(map(text.__getitem__, places)) for hidden, places in parts)


def answer_without_key(text: str) -> str:
    """A model's answer without parts of the key, which a server may echo, but with a placeholder's words."""
    key = os.environ.get(KEY_VARIABLE, "")
    secret = len(key) >= _LENGTH and any(character.isdigit() for character in key)
    return without_key(text) if secret else text


def quoted(text: str) -> str:
    """A server's message as one short printable line without the key."""
    return without_key(printable(" ".join(text.split())))[:_SHOWN]


@dataclass(frozen=True)
class Reply:
    """A server's reply of any status, the seconds that it took, and the pause that it asks for."""

    status: int
    body: bytes
    seconds: float
    retry_after: float = 0.0


def failure_of(reply: Reply, url: str) -> LMError:
    """The error that a reply of a status other than 200 means."""
    status, message = reply.status, _message(reply.body)
    if status in (401, 403):
        # The server's own message is left out: it may hold a part of the key.
        hint = f"set {KEY_VARIABLE} to a key that it takes"
        return LMUnavailableError("refused", f"the model server refuses the key ({status})", hint)
    if status == 404 and "model" in message.lower():
        return LMUnavailableError("refused", f"no such model: {message}", "correct the model's name")
    if status in (404, 405, 501) or 300 <= status < 400:
        path = urlsplit(url).path
        hint = "correct `api_base`" if path.endswith("/chat/completions") else NEEDS_VLLM
        return LMUnavailableError("refused", f"the model server has no {path} ({status})", hint)
    if status == 413 or (status == 400 and any(sign in message.lower() for sign in _TOO_LONG)):
        return LMError("too_long", f"the prompt is too long for the model: {message}")
    if status == 429:
        return LMError("rate_limited", "the server asks for fewer requests", "lower `concurrency`", True)
    if status == 408 or status >= 500:
        code = "timeout" if status in (408, 504) else "server_error"
        return LMError(code, f"the server failed ({status}): {message}", retryable=True)
    return LMError("bad_request", f"the server did not accept the request ({status}): {message}")


def json_object(body: str | bytes) -> dict[str, Any] | None:
    """The JSON object of a body; None if it is something else."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _message(body: bytes) -> str:
    """The server's own message, printable and without the key."""
    text = body[:10_000].decode("utf-8", "replace")
    if answer := json_object(text):
        error = answer.get("error", answer)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    return quoted(text)
