"""A program as a DSPy module: its prompts are predictors, and a call runs the program's own stages."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from irr.config import RankMethod
from irr.errors import IrrError, LMError
from irr.lm.loop import run_on_loop
from irr.lm.protocol import ChatRequest, LanguageModel, StageInput
from irr.program.spec import Models
from irr.program.stages import AnswerOptions, Stages
from irr.prompts.chat import Prompt, RankingPrompt, TermPrompt, assistant_text, system_text, user_text
from irr.prompts.pack import MAX_NAME, MAX_TERMS, Demo, TaskPack, demo_text
from irr.text.words import clean


def prepare_dspy() -> Any:
    """Imports DSPy without a download of prices, and returns the module; the user's DSPy settings stay."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import dspy

    return dspy


if TYPE_CHECKING:
    import dspy
else:
    dspy = prepare_dspy()

# The module whose call is under way; contexts carry it into the threads and tasks of the call.
_calling: ContextVar[ProgramModule] = ContextVar("irr_calling_module")
# What the request under way asks about.
_about: ContextVar[StageInput] = ContextVar("irr_about")


class ProgramModule(dspy.Module):  # type: ignore[misc]
    """An `InferRetrieveRank` with language models whose prompts DSPy can compile.

    Its predictors `infer` and `rank`, or one of them, are the prompts that the program sends. A stage without
    a predictor asks its language model as the program does.
    """

    def __init__(self, program: Any, predictors: Sequence[str] = ("infer", "rank")) -> None:
        super().__init__()
        self.program = program
        task, settings, models = program.spec.task, program.spec.settings, program.models
        infer, rank = models.infer_lm, models.rank_lm
        if infer and task and "infer" in predictors:
            self.infer = predictor_of(TermPrompt(task, settings.infer.demos).prompt)
            infer = _PredictingModel(infer)
        if rank and task and "rank" in predictors and settings.rank.method is not RankMethod.POINTWISE:
            self.rank = predictor_of(RankingPrompt(task, settings.rank.demos, settings.rank.none_fits).prompt)
            rank = _PredictingModel(rank)
        asked = Models(models.encoder, infer, rank, models.ranker)
        self._shared = _Shared(Stages.compose(program.spec, asked, program.index))

    @property
    def defects(self) -> list[Exception]:
        """Exceptions of calls that are no IrrErrors: DSPy logs them and raises others in their place."""
        return self._shared.defects

    def forward(self, text: str) -> dspy.Prediction:
        """Puts a text into the label space.

        Returns:
            `labels`: ids of the ranked candidates, best first; `candidates`: ids as retrieved; `prediction`:
            the program's own prediction, with its trace.
        """
        token = _calling.set(self)
        stages = self._shared.stages
        options = AnswerOptions(stages.settings.retrieve.candidates, thresholds=None, trace=True)
        try:
            (prediction,) = stages.answer([text], options)
        except Exception as e:
            if not isinstance(e, IrrError):
                self.defects.append(e)
            raise
        finally:
            _calling.reset(token)
        found = dspy.Prediction(
            labels=[label.id for label in prediction.labels],
            candidates=[c.label.id for c in prediction.trace.candidates] if prediction.trace else [],
            prediction=prediction,
        )
        found._module = self
        return found

    def task(self) -> TaskPack:
        """The task pack with the prompts that the predictors have now."""
        task: TaskPack = self.program.spec.task
        changes: dict[str, Any] = {}
        for stage, demo_of in (("infer", _terms_demo), ("rank", _ranking_demo)):
            if predictor := getattr(self, stage, None):
                instructions = predictor.signature.instructions.strip()
                complete = _complete(predictor.demos, predictor.signature)
                demos = tuple(demo for demo in map(demo_of, complete) if demo)
                prompt = getattr(task, stage)
                found = {"instructions": instructions, "notes": "", "demos": demos}
                changes[stage] = type(prompt)(**{**dict(prompt), **found})
        return task.model_copy(update=changes)


class _Shared:
    """What copies of a module share, since optimizers do not change it."""

    def __init__(self, stages: Stages) -> None:
        self.stages = stages
        self.defects: list[Exception] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        return self


def predictor_of(prompt: Prompt) -> dspy.Predict:
    """A prompt as a DSPy predictor."""
    fields: dict[str, Any] = {
        **{name: (str, dspy.InputField(desc=described)) for name, described in prompt.inputs.items()},
        prompt.output: (list[prompt.item], dspy.OutputField(desc=prompt.described)),  # type: ignore[name-defined]
    }
    predictor = dspy.Predict(dspy.Signature(fields, prompt.instructions))
    predictor.demos = [dspy.Example(**demo).with_inputs(*prompt.inputs) for demo in prompt.demos]
    return predictor


class _PredictingModel:
    """A language model that is asked through the predictors of the module whose call is under way."""

    def __init__(self, model: LanguageModel) -> None:
        self.name = model.name
        self.concurrency = model.concurrency
        self.capabilities = model.capabilities
        self.probabilities = model.probabilities
        # Each call names it, because optimizers drop the model of a predictor.
        self._lm = dspy_model(model)

    async def chat(self, request: ChatRequest) -> str:
        """Answers by the predictor of the stage that asks."""
        about = request.about
        assert about is not None
        predictor = getattr(_calling.get(), about.stage)
        _about.set(about)
        demos = predictor.demos if about.demos is None else about.demos
        try:
            with dspy.context(adapter=LeanJSONAdapter()):
                prediction = await predictor.acall(
                    lm=self._lm,
                    demos=_complete(demos, predictor.signature),
                    config={**schema_config(request.schema or {}), "max_tokens": request.max_tokens},
                    **about.fields,
                )
        except Exception as e:
            raise as_lm_error(e) from None
        return assistant_text({name: prediction[name] for name in predictor.signature.output_fields})


def schema_config(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The `config` of a DSPy call whose answer must fit a schema; DSPy's own has no bounds of arrays."""
    named = {"name": "answer", "schema": dict(schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def dspy_model(model: LanguageModel, **settings: Any) -> dspy.LM:
    """The model as a `dspy.LM`, to be awaited or called from any thread but the event loop's.

    `as_lm_error` takes its LMErrors out of DSPy's.
    """
    settings = {"temperature": 0.0, "cache": False, "num_retries": 0, **settings}
    engine = _BlockingEngine(model)
    return dspy.LM(f"irr/{model.name}", engine=engine, async_engine=_AsyncEngine(model), **settings)


def as_lm_error(error: Exception) -> LMError:
    """The LMError inside an exception of a DSPy call, to be raised `from None`; other errors are raised."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:  # DSPy wraps exceptions of an engine
        seen.add(id(link))
        if isinstance(link, LMError):
            return link
        if isinstance(link, IrrError):
            raise link from None
        if isinstance(link, dspy.utils.exceptions.AdapterParseError):
            return LMError("unparsable", "the answer is not the JSON that was asked for")
        link = link.__cause__ or link.__context__
    raise error


class LeanJSONAdapter(dspy.JSONAdapter):  # type: ignore[misc]
    """DSPy's JSON adapter with the prompts of irr and the schema in `config`."""

    def format_system_message(self, signature: Any) -> str:
        """The instructions, and one line on the form of the answer."""
        outputs = {name: _described(field) for name, field in signature.output_fields.items()}
        return system_text(signature.instructions, outputs)

    def format_user_message_content(self, signature: Any, inputs: Mapping[str, Any], **_: Any) -> str:
        """Each field's description and value."""
        fields = signature.input_fields.items()
        return user_text({_described(field): str(inputs[name]) for name, field in fields})

    def format_assistant_message_content(self, signature: Any, outputs: Mapping[str, Any], **_: Any) -> str:
        """The answer of a demo, which has all fields."""
        return assistant_text({name: outputs[name] for name in signature.output_fields})

    def parse(self, signature: Any, completion: str) -> dict[str, Any]:
        """The fields of an answer."""
        try:
            fields: dict[str, Any] = super().parse(signature, completion)
        except (ValueError, RecursionError) as e:  # deep nesting breaks the parser
            names = {"adapter_name": type(self).__name__, "signature": signature}
            raise dspy.utils.exceptions.AdapterParseError(**names, lm_response=completion[:200]) from e
        return fields

    def _prepare_response_format(self, lm: Any, lm_kwargs: dict[str, Any], signature: Any) -> None:
        if "response_format" not in lm_kwargs:
            super()._prepare_response_format(lm, lm_kwargs, signature)


def _described(field: Any) -> str:
    return str(field.json_schema_extra["desc"])


class _BlockingEngine:
    """A model as an engine of `dspy.LM`."""

    supports_response_schema = True
    supports_function_calling = False
    supports_reasoning = False
    supported_params = ("response_format", "max_tokens", "temperature", "top_p", "stop", "seed")

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    def complete(self, request: Any) -> Any:
        return run_on_loop(self._respond(request))

    async def _respond(self, request: Any) -> Any:
        lm15, name = dspy.lm15, self._model.name
        message = lm15.Message.assistant(await self._model.chat(_chat_request(request)))
        # The model counts its tokens itself.
        return lm15.Response(id=None, model=name, message=message, finish_reason="stop", usage=lm15.Usage())

    def __deepcopy__(self, memo: dict[int, Any]) -> _BlockingEngine:
        return self  # copies of a program share the model's connections


class _AsyncEngine(_BlockingEngine):
    async def complete(self, request: Any) -> Any:
        return await self._respond(request)


def _chat_request(request: Any) -> ChatRequest:
    config = request.config
    # A string, or parts of one.
    system = "".join(getattr(part, "text", part) for part in request.system or ())
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
        about=_about.get(None),
    )


def _complete(demos: Iterable[Any], signature: Any) -> list[dict[str, Any]]:
    """Demos that have all fields, with the beginning of their texts, as a task pack holds them.

    Optimizers make some demos of examples without outputs, and show whole texts.
    """
    whole = (demo for demo in demos if all(name in demo for name in signature.fields))
    return [{**demo, "text": demo_text(demo["text"])} for demo in whole]


def _terms_demo(demo: Any) -> Demo | None:
    terms = _distinct(demo["terms"])
    return Demo(text=demo["text"], terms=terms) if terms else None


def _ranking_demo(demo: Any) -> Demo | None:
    candidates = tuple(line.partition(" ")[2][:MAX_NAME] for line in demo["candidates"].split("\n"))
    terms = _distinct([candidates[n - 1] for n in demo["ranking"] if 1 <= n <= len(candidates)])
    return Demo(text=demo["text"], terms=terms, candidates=candidates) if terms else None


def _distinct(terms: Sequence[str]) -> tuple[str, ...]:
    cleaned = (" ".join(clean(term).split())[:MAX_NAME] for term in terms)
    return tuple({term.casefold(): term for term in cleaned if term}.values())[:MAX_TERMS]
