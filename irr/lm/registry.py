"""Opens language models by name: `none`, `embedded`, `openai/MODEL`, or `recorded/FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from irr.errors import UsageError
from irr.lm.protocol import Capabilities, LanguageModel
from irr.lm.server_errors import check_address, read_key
from irr.lm.server_limits import Limits

NO_MODEL = "none"
_SERVED = "openai/"
# The class of a name, or of names that begin so if it ends in "/". A class has `open` and `capabilities`,
# and is imported at first use.
_CLASSES = {
    "embedded": "irr.lm.embedded:EmbeddedModel",
    "recorded/": "irr.lm.recorded:RecordedModel",
    _SERVED: "irr.lm.server_client:ServedModel",
}


def open_model(name: str, api_base: str | None = None, limits: Limits | None = None) -> LanguageModel | None:
    """The language model of that name: `none`, `embedded`, `openai/MODEL` at an OpenAI-compatible URL, or
    `recorded/FILE`, which repeats the answers in a file.

    Args:
        name: The model's name.
        api_base: The server's URL, up to `/v1`; OpenAI's if None.
        limits: Concurrency and rate limits of the server.

    Raises:
        UsageError: If the name is none of these, or the URL is invalid.
        MissingExtraError: If the embedded model's package is not installed.
    """
    if name == NO_MODEL:
        return None
    kind, rest = _found(name)
    model: LanguageModel = kind.open(rest, api_base, limits)
    return model


def open_models(
    models: Sequence[LanguageModel | str], api_base: str | None = None, limits: Limits | None = None
) -> list[LanguageModel | None]:
    """These models, each name opened once; raises as `open_model`."""
    names = dict.fromkeys(model for model in models if isinstance(model, str))
    opened = {name: open_model(name, api_base, limits) for name in names}
    return [opened[model] if isinstance(model, str) else model for model in models]


def capabilities_of(name: str) -> Capabilities:
    """The capabilities of the model of that name, which is not opened.

    Raises:
        UsageError: If `open_model` does not know the name.
    """
    if name == NO_MODEL:
        return Capabilities(writes_instructions=False, local=True)
    capabilities: Capabilities = _found(name)[0].capabilities
    return capabilities


def name_of(model: str) -> str:
    """The name that opens a model of this `name`; a served model is named as on its server."""
    kind = model.partition("/")[0]
    own = model in _CLASSES or kind + "/" in _CLASSES.keys() - {_SERVED}
    return model if own else _SERVED + model


def check_name(name: str, api_base: str | None = None) -> None:
    """Checks a name, an address and the key in the environment.

    Raises:
        UsageError: If `open_model` would refuse one of them.
    """
    if not capabilities_of(name).local:
        read_key()
    if api_base is not None:
        check_address(api_base)


def _found(name: str) -> tuple[Any, str]:
    """The class of a model, and what follows its kind in the name."""
    kind, slash, rest = name.partition("/")
    if kind + slash not in _CLASSES or bool(slash) != bool(rest):
        hint = "name none, embedded, openai/MODEL with `api_base`, or recorded/FILE"
        raise UsageError(f'no language model "{name}"', hint)
    module, _, found = _CLASSES[kind + slash].partition(":")
    return getattr(import_module(module), found), rest
