"""Adapts DSPy to irr: our models behind `dspy.LM`, answers held to a schema, one kind of error."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from irr.errors import BudgetSpentError, LMError
from irr.lm.loop import run_on_loop
from irr.lm.protocol import ChatRequest, LanguageModel, StageInput
from irr.prompts.chat import assistant_text, system_text, user_text

if TYPE_CHECKING:
    import dspy

_about: ContextVar[StageInput | None] = ContextVar("irr_about", default=None)


def prepare_dspy() -> Any:
    """Imports DSPy without a download of prices; returns the module.

    The user's DSPy settings stay: caches and retries are off only in the models that are made here.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import dspy

    return dspy


def dspy_model(model: LanguageModel, **kwargs: Any) -> dspy.LM:
    """The model as a `dspy.LM`, to be awaited or called from any thread but the event loop's.

    Args:
        model: The model; `as_lm_error` takes its LMErrors out of DSPy's.
        kwargs: Sampling settings of `dspy.LM`.
    """
    dspy = prepare_dspy()
    settings = {"temperature": 0.0, "cache": False, "num_retries": 0, **kwargs}
    return dspy.LM(
        f"irr/{model.name}", engine=_BlockingEngine(model), async_engine=_AsyncEngine(model), **settings
    )


@contextmanager
def asking_about(about: StageInput) -> Iterator[None]:
    """Says what the requests in this block ask about, which DSPy's own requests cannot carry."""
    token = _about.set(about)
    try:
        yield
    finally:
        _about.reset(token)


def schema_config(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The `config` of a DSPy call whose answer must fit a JSON schema.

    DSPy's own schema loses the bounds of arrays.
    """
    named = {"name": "answer", "schema": dict(schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


@cache
def lean_json() -> Any:
    """DSPy's JSON adapter with the prompts of irr and the schema in `config`."""
    dspy = prepare_dspy()
    base: Any = dspy.JSONAdapter
    parse_error = dspy.utils.exceptions.AdapterParseError

    class LeanJSON(base):  # type: ignore[misc]
        def format_system_message(self, signature: Any) -> str:
            outputs = {name: _described(field) for name, field in signature.output_fields.items()}
            return system_text(signature.instructions, outputs)

        def format_user_message_content(
            self,
            signature: Any,
            inputs: dict[str, Any],
            prefix: str = "",
            suffix: str = "",
            main_request: bool = False,
        ) -> str:
            fields = signature.input_fields.items()
            text = user_text({_described(f): str(inputs[name]) for name, f in fields if name in inputs})
            return "\n".join(part for part in (prefix, text, suffix) if part)

        def format_assistant_message_content(
            self, signature: Any, outputs: dict[str, Any], missing_field_message: str | None = None
        ) -> str:
            return assistant_text(
                {name: outputs.get(name, missing_field_message) for name in signature.output_fields}
            )

        def parse(self, signature: Any, completion: str) -> dict[str, Any]:
            try:
                fields: dict[str, Any] = super().parse(signature, completion)
            except parse_error:
                raise
            except (ValueError, RecursionError) as e:  # deep nesting breaks the parser
                raise parse_error(
                    adapter_name="LeanJSON", signature=signature, lm_response=completion[:200]
                ) from e
            return fields

        def _prepare_response_format(self, lm: Any, lm_kwargs: dict[str, Any], signature: Any) -> None:
            if "response_format" not in lm_kwargs:
                super()._prepare_response_format(lm, lm_kwargs, signature)

    return LeanJSON()


def _described(field: Any) -> str:
    return str(field.json_schema_extra["desc"])


def as_lm_error(error: Exception) -> LMError:
    """The LMError inside an exception of a DSPy call; raise it `from None`.

    Raises:
        BudgetSpentError: If the budget refused the request.
        Exception: `error` itself, if it does not come from a model.
    """
    dspy = prepare_dspy()
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:  # DSPy wraps exceptions of an engine
        seen.add(id(link))
        if isinstance(link, LMError):
            return link
        if isinstance(link, BudgetSpentError):
            raise link
        if isinstance(link, dspy.utils.exceptions.AdapterParseError):
            return LMError("unparsable", "the answer is not the JSON that was asked for")
        link = link.__cause__ or link.__context__
    raise error


class _Engine:
    """A model as an engine of `dspy.LM`."""

    supports_response_schema = True
    supports_function_calling = False
    supports_reasoning = False
    supported_params = ("response_format", "max_tokens", "temperature", "top_p", "stop", "seed")

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    async def _respond(self, request: Any) -> Any:
        lm15 = prepare_dspy().lm15
        text = await self._model.chat(_chat_request(request))
        return lm15.Response(
            id=None,
            model=self._model.name,
            message=lm15.Message.assistant(text),
            finish_reason="stop",
            usage=lm15.Usage(),  # the model counts its tokens itself
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> _Engine:
        return self  # copies of a program share the model's connections


class _BlockingEngine(_Engine):
    def complete(self, request: Any) -> Any:
        return run_on_loop(self._respond(request))


class _AsyncEngine(_Engine):
    async def complete(self, request: Any) -> Any:
        return await self._respond(request)


def _chat_request(request: Any) -> ChatRequest:
    config = request.config
    system = request.system
    if system is not None and not isinstance(system, str):
        system = "".join(part.text for part in system)
    messages = [(message.role, message.text or "") for message in request.messages]
    wanted = config.response_format or {}
    return ChatRequest(
        messages=(*((("system", system),) if system else ()), *messages),
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        seed=config.seed,
        stop=tuple(config.stop or ()),
        schema=wanted.get("schema"),
        json=bool(wanted),
        extra=dict(config.extensions or {}),
        about=_about.get(),
    )
