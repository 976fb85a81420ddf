"""A model server's address and key: checked before anything is sent; the key is kept out of what is shown."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from irr.errors import UsageError
from irr.text.printable import printable

KEY_VARIABLE = "OPENAI_API_KEY"
# So many characters of a key in a row are shown nowhere.
_RUN = 6
_SHOWN = 300
# Keys that were drawn by chance are at least so long, and hold digits.
_LENGTH = 16


def check_address(api_base: str) -> str:
    """The address of a server, without a slash at its end.

    Raises:
        UsageError: If it is no plain http(s) URL; the message holds nothing of it that may be secret.
    """
    hint = "give http://HOST:PORT/v1"
    try:
        parts = urlsplit(api_base)
        port, host = parts.port, parts.hostname or ""
    except ValueError as e:
        raise UsageError(f"the address of the model server is no URL ({e})", hint) from None
    if parts.username or parts.password or parts.query or parts.fragment or "@" in api_base:
        raise UsageError(
            "the address of the model server carries a user, password, query or fragment",
            f"give the plain address, and the key in {KEY_VARIABLE}",
        )
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError("the address of the model server does not begin with http://HOST", hint)
    if port == 0 or not api_base.isprintable() or any(character.isspace() for character in api_base):
        raise UsageError("the address of the model server holds a character or port that none has", hint)
    try:
        host.encode("idna")
    except UnicodeError:
        raise UsageError("the address of the model server names no host that can be", hint) from None
    return api_base.rstrip("/")


def read_key() -> str:
    """The key in the environment; "" where there is none.

    Raises:
        UsageError: If it holds what cannot be sent: a line break, a control or a non-ASCII character.
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
    """A model's answer, in which a server may have put parts of the key.

    A key that is no secret ("no-key-required") may be made of words, which answers hold for good reasons.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    secret = len(key) >= _LENGTH and any(character.isdigit() for character in key)
    return without_key(text) if secret else text


def quoted(text: str) -> str:
    """What a server said, as one short printable line without the key."""
    return without_key(printable(" ".join(text.split())))[:_SHOWN]
