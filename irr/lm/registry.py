"""Opens language models by name: `none`, `embedded`, `openai/MODEL`, or `recorded/FILE`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from irr.errors import UsageError
from irr.lm.embedded import EmbeddedModel
from irr.lm.packaged import ALIAS
from irr.lm.protocol import Capabilities, LanguageModel
from irr.lm.recorded import KIND, RecordedModel
from irr.lm.server_client import OPENAI, ServedModel
from irr.lm.server_errors import check_address, read_key
from irr.lm.server_limits import Limits

NO_MODEL = "none"
_SERVED = "openai/"
# The capabilities of the model of a name, or of names that begin so if it ends in "/".
_CAPABILITIES = {
    NO_MODEL: Capabilities(writes_instructions=False, local=True),
    ALIAS: EmbeddedModel.capabilities,
    KIND: RecordedModel.capabilities,
    _SERVED: ServedModel.capabilities,
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
    kind, rest = _kind_of(name)
    if kind == NO_MODEL:
        return None
    if kind == ALIAS:
        return EmbeddedModel()
    if kind == KIND:
        return RecordedModel.read(Path(rest))
    return ServedModel(rest, api_base or OPENAI, limits=limits or Limits())


def open_models(
    models: Sequence[LanguageModel | str], api_base: str | None = None, limits: Limits | None = None
) -> list[LanguageModel | None]:
    """These models, each name opened once; raises as `open_model`."""
    names = dict.fromkeys(model for model in models if isinstance(model, str))
    opened = {name: open_model(name, api_base, limits) for name in names}
    return [opened[model] if isinstance(model, str) else model for model in models]


def capabilities_of(name: str) -> Capabilities:
    """The capabilities of the model that `open_model` would open; raises as it for an unknown name."""
    return _CAPABILITIES[_kind_of(name)[0]]


def name_of(model: str) -> str:
    """The name that opens a model of this `name`; a served model is named as on its server."""
    return model if model == ALIAS or model.startswith(KIND) else _SERVED + model


def check_name(name: str, api_base: str | None = None) -> None:
    """Raises a UsageError where `open_model` would, also for the key in the environment."""
    if not capabilities_of(name).local:
        read_key()
    if api_base is not None:
        check_address(api_base)


def _kind_of(name: str) -> tuple[str, str]:
    """The key of a name in `_CAPABILITIES`, and what follows it in the name."""
    kind, slash, rest = name.partition("/")
    if kind + slash not in _CAPABILITIES or bool(slash) != bool(rest):
        hint = "name none, embedded, openai/MODEL with `api_base`, or recorded/FILE"
        raise UsageError(f'no language model "{name}"', hint)
    return kind + slash, rest
