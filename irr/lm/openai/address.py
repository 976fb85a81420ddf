"""Checks a model server's address and key, and keeps the key out of all output."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from irr.errors import UsageError
from irr.text.strings import printable

KEY_VARIABLE = "OPENAI_API_KEY"
# No run of so many characters of a key is shown.
_RUN = 6
_SHOWN = 300
# Random keys are at least so long, and hold digits.
_LENGTH = 16


def check_address(api_base: str) -> str:
    """The address of a server, without a slash at its end.

    Raises:
        UsageError: If it is not a plain http(s) URL; the message leaves out what may be secret.
    """
    hint = "give http://HOST:PORT/v1"
    try:
        parts = urlsplit(api_base)
        port, host = parts.port, parts.hostname or ""
    except ValueError as e:
        raise UsageError(f"the address of the model server is not a URL ({e})", hint) from None
    if parts.username or parts.password or parts.query or parts.fragment or "@" in api_base:
        raise UsageError(
            "the address of the model server carries a user, password, query or fragment",
            f"give the plain address, and the key in {KEY_VARIABLE}",
        )
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError("the address of the model server does not begin with http://HOST", hint)
    if port == 0 or not api_base.isprintable() or any(character.isspace() for character in api_base):
        raise UsageError("the address of the model server holds an invalid character or port", hint)
    try:
        host.encode("idna")
    except UnicodeError:
        raise UsageError("the address of the model server has an invalid host name", hint) from None
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
    if not size:
        return text
    runs = {key[i : i + size] for i in range(len(key) - size + 1)}
    hidden = [False] * len(text)
    for i in range(len(text) - size + 1):
        if text[i : i + size] in runs:
            hidden[i : i + size] = [True] * size
    shown = []
    for i, character in enumerate(text):
        if not hidden[i]:
            shown.append(character)
        elif not i or not hidden[i - 1]:
            shown.append("***")
    return "".join(shown)


def answer_without_key(text: str) -> str:
    """A model's answer without parts of the key, which a server may echo.

    A placeholder key ("no-key-required") consists of words that may well occur in answers; it is not removed.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    secret = len(key) >= _LENGTH and any(character.isdigit() for character in key)
    return without_key(text) if secret else text


def quoted(text: str) -> str:
    """A server's message as one short printable line without the key."""
    return without_key(printable(" ".join(text.split())))[:_SHOWN]
