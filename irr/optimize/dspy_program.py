"""The stages as one DSPy program: models behind `dspy.LM`, prompts as predictors, a log of trials."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from irr.config import RankMethod, Settings
from irr.errors import LMError, LMUnavailableError
from irr.evaluate.evaluate import METRICS
from irr.index.examples import demo_of
from irr.io.texts import GoldRow
from irr.lm.base import ChatRequest, LanguageModel
from irr.lm.loop import run_on_loop
from irr.optimize.scorer import Plan, Scorer
from irr.prompts.chat import Prompt, assistant_text, system_text, user_text
from irr.prompts.pack import MAX_NAME, MAX_TERMS, Demo, InferPrompt, RankPrompt, TaskPack, demo_text
from irr.prompts.templates import RANKING_TOKENS, TERMS_TOKENS, RankingPrompt, TermPrompt, numbered
from irr.rank.base import by_score
from irr.rank.listwise import places
from irr.rank.lm import fuse
from irr.text.words import clean
from irr.types import Candidate, Example, Query, QueryKind

# Candidates in a labelled demo for ranking.
_DEMO_CANDIDATES = 12


def prepare_dspy() -> Any:
    """Imports DSPy without a download of prices; returns the module.

    The user's DSPy settings stay: caches and retries are off only in the models that are made here.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import dspy

    return dspy


if TYPE_CHECKING:
    import dspy
else:
    dspy = prepare_dspy()


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
        Exception: `error` itself, if it does not come from a model.
    """
    dspy = prepare_dspy()
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:  # DSPy wraps exceptions of an engine
        seen.add(id(link))
        if isinstance(link, LMError):
            return link
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
    )


class _PromptModule(dspy.Module):  # type: ignore[misc]
    """A prompt as a DSPy predictor.

    Attributes:
        prompt: The prompt.
        model: The model; each call names it, because optimizers drop the model of a predictor.
    """

    def __init__(self, prompt: Prompt, model: dspy.LM) -> None:
        super().__init__()
        self.prompt = prompt
        self.model = model
        fields: dict[str, Any] = {
            **{name: (str, dspy.InputField(desc=described)) for name, described in prompt.inputs.items()},
            prompt.output: (list[prompt.item], dspy.OutputField(desc=prompt.described)),  # type: ignore[name-defined]
        }
        self.predict = dspy.Predict(dspy.Signature(fields, prompt.instructions))
        self.predict.demos = [dspy.Example(**demo).with_inputs(*prompt.inputs) for demo in prompt.demos]

    def _list(self, output: str, items: dict[str, Any], most: int, tokens: int, **inputs: str) -> list[Any]:
        # Optimizers make demos of whole texts, a task pack of their beginning.
        demos = [{**demo, "text": demo_text(demo["text"])} for demo in self.predict.demos]
        config = schema_config(self.prompt.schema(items, most)) | {"max_tokens": tokens}
        found: list[Any] = self.predict(config=config, lm=self.model, demos=demos, **inputs)[output]
        return found


class ProposeTerms(_PromptModule):
    """Text → terms, by the prompt of `TermPrompt`."""

    def __init__(self, prompt: TermPrompt, model: dspy.LM) -> None:
        super().__init__(prompt.prompt, model)

    def forward(self, text: str) -> list[str]:
        """Returns the terms, without duplicates."""
        terms = self._list("terms", TermPrompt.items, TermPrompt.most, TERMS_TOKENS, text=text)
        return TermPrompt.kept(terms)


class OrderCandidates(_PromptModule):
    """Text and numbered candidates → positions, by the prompt of `RankingPrompt`."""

    def __init__(self, prompt: RankingPrompt, model: dspy.LM) -> None:
        super().__init__(prompt.prompt, model)

    def forward(self, text: str, candidates: Sequence[str], count: int) -> list[int]:
        """Returns positions in `candidates`, best first."""
        items, most = RankingPrompt.items(len(candidates)), min(count, len(candidates))
        inputs = {"text": text, "candidates": numbered(candidates)}
        return RankingPrompt.kept(
            self._list("ranking", items, most, RANKING_TOKENS, **inputs), len(candidates)
        )


# Candidates in a labelled demo for ranking.
_DEMO_CANDIDATES = 12


class FixedStages:
    """Retrieval, fusion and the stage that is not optimized, which do not change during a search."""

    def __init__(self, scorer: Scorer, plan: Plan) -> None:
        self._program = scorer.program(plan)
        self._space = scorer.index.space
        self._weight = plan.settings.rank.method_weight(RankMethod.LISTWISE)
        self._depth = plan.settings.retrieve.candidates
        # DSPy logs exceptions and goes on, but defects must end the search.
        self.mistakes: list[Exception] = []
        self._known: dict[tuple[str, tuple[str, ...]], list[Candidate]] = {}
        self._retrieving = threading.Lock()

    @contextmanager
    def keeping_mistakes(self) -> Iterator[None]:
        """Records the exceptions of a block in `mistakes`, and raises them again."""
        try:
            yield
        except Exception as e:
            self.mistakes.append(e)
            raise

    def candidates(self, text: str, terms: Sequence[str] = ()) -> list[Candidate]:
        """The candidates of a text, with these terms among its queries."""
        key = (text, tuple(terms))
        if key not in self._known:
            queries = list(self._program.stages.inferer.infer([text])[0].queries)
            queries += [Query(text=term, kind=QueryKind.TERM) for term in terms]
            with self._retrieving:
                (self._known[key],) = self._program.stages.retriever.retrieve([queries], self._depth)
        return self._known[key]

    def shown(self, text: str, candidates: Sequence[Candidate]) -> str:
        """The part of a text that the ranking model reads."""
        return self._program.stages.rank_text(text, candidates)

    def ranked(self, candidates: Sequence[Candidate], named: Sequence[int]) -> list[str]:
        """The ids of candidates, best first, where the model chose those at places `named`."""
        retrieval = [candidate.score for candidate in candidates]
        scores = fuse(retrieval, places(named, len(candidates)), self._weight) if named else retrieval
        return [label.id for label in by_score(candidates, scores).labels]

    def example(self, row: GoldRow, key: str) -> dspy.Example:
        """A row with gold as a DSPy example, whose fields are a labelled demo of either stage."""
        demo = demo_of(Example(text=row.text, labels=row.labels), self._space)
        names = list(dict.fromkeys(c.label.name for c in self.candidates(row.text)))
        others = [name for name in names if name not in demo.terms]
        shown = sorted([*demo.terms, *others[: max(3, _DEMO_CANDIDATES - len(demo.terms))]])
        return dspy.Example(
            key=key,
            gold=row.labels,
            text=row.text,
            terms=list(demo.terms),
            candidates=numbered(shown),
            ranking=[shown.index(term) + 1 for term in demo.terms],
        ).with_inputs("text")

    def feedback(self, gold: Sequence[str], labels: Sequence[str]) -> str:
        """The found, missed and wrong labels of an answer in words, for GEPA."""
        top = labels[: max(10, len(gold))]
        names = {label: self._space[self._space.number_of[label]].name for label in {*gold, *top}}
        missed = [names[label] for label in gold if label not in top]
        found = [names[label] for label in gold if label in top]
        wrong = [names[label] for label in top[:5] if label not in gold]
        return (
            f"Right and found: {'; '.join(found) or 'none'}. "
            f"Right but missed: {'; '.join(missed) or 'none'}. "
            f"Wrong among the first: {'; '.join(wrong) or 'none'}."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> FixedStages:
        return self  # copies of a program share what optimizers do not change


class StageProgram(dspy.Module):  # type: ignore[misc]
    """Text → label ids, through the stages that are optimized, with the fallbacks of a real run."""

    def __init__(self, fixed: FixedStages, infer: ProposeTerms | None, rank: OrderCandidates | None) -> None:
        super().__init__()
        self.fixed = fixed
        if infer:
            self.infer = infer
        if rank:
            self.rank = rank

    def forward(self, text: str) -> dspy.Prediction:
        """Returns label ids, best first, and the program with the prompts that gave them."""
        terms: list[str] | None = []
        named: list[int] | None = []
        with self.fixed.keeping_mistakes(), dspy.context(adapter=lean_json()):
            if hasattr(self, "infer"):
                terms = _answer(lambda: self.infer(text=text))
            candidates = self.fixed.candidates(text, terms or [])
            if hasattr(self, "rank"):
                names = [candidate.label.name for candidate in candidates]
                shown = self.fixed.shown(text, candidates)
                named = _answer(lambda: self.rank(text=shown, candidates=names, count=10))
            answered = terms is not None and named is not None
            found = self.fixed.ranked(candidates, named or [])
            return dspy.Prediction(found=found, program=self, answered=answered)


def _answer(call: Callable[[], list[Any]]) -> list[Any] | None:
    """A model's answer; empty if it cannot be used, None if none came.

    Raises:
        Exception: If the model is unavailable, or the exception does not come from a model.
    """
    try:
        return call()
    except Exception as e:
        error = as_lm_error(e)
        if isinstance(error, LMUnavailableError):
            raise error from None
        return None if error.retryable else []


def stage_program(
    fixed: FixedStages,
    task: TaskPack,
    settings: Settings,
    infer: LanguageModel | None,
    rank: LanguageModel | None,
) -> StageProgram:
    """The stages that have a model here, with the prompts of a task."""
    ranking = RankingPrompt(task, settings.rank.demos, settings.rank.none_fits)
    return StageProgram(
        fixed,
        ProposeTerms(TermPrompt(task, settings.infer.demos), dspy_model(infer)) if infer else None,
        OrderCandidates(ranking, dspy_model(rank)) if rank else None,
    )


class TrialLog:
    """Every prompt that an optimizer tries, with its score on each example of the valset.

    It keeps the prompts of an optimizer that is stopped.

    Args:
        fixed: Writes the feedback.
        metric: The metric's name.
        keys: The keys of the valset; a prompt is complete when all are scored.
        task: The task pack that the prompts started from.
        on_complete: Called with each complete prompt and its scores.
    """

    def __init__(
        self, fixed: FixedStages, metric: str, keys: Sequence[str], task: TaskPack, on_complete: Any
    ) -> None:
        self.fixed = fixed
        self._metric = METRICS[metric]
        self._keys = frozenset(keys)
        self._task = task
        self._on_complete = on_complete
        self._scores: dict[str, dict[str, float]] = {}
        self._tasks: dict[str, TaskPack] = {}
        self._lock = threading.Lock()

    def __call__(
        self, example: Any, prediction: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
    ) -> Any:
        """The metric as DSPy's optimizers call it: a score, with feedback for a single predictor."""
        with self.fixed.keeping_mistakes():
            score = self._metric(prediction.found, set(example.gold))
            if pred_name is not None:
                feedback = self.fixed.feedback(example.gold, prediction.found)
                return dspy.Prediction(score=score, feedback=feedback)
            if example.key in self._keys and prediction.answered:
                self._enter(prediction.program, example.key, score)
            return score

    def best(self) -> list[TaskPack]:
        """The complete prompts, best first."""
        complete = {key: of for key, of in self._scores.items() if len(of) == len(self._keys)}
        order = sorted(complete, key=lambda key: -sum(complete[key].values()))
        return [self._tasks[key] for key in order]

    def _enter(self, program: StageProgram, key: str, score: float) -> None:
        task = task_of(program, self._task)
        digest = hashlib.sha256(task.model_dump_json().encode()).hexdigest()
        with self._lock:
            self._tasks.setdefault(digest, task)
            scores = self._scores.setdefault(digest, {})
            fresh = key not in scores
            scores[key] = score
            whole = fresh and len(scores) == len(self._keys)
        if whole:
            self._on_complete(task, list(scores.values()))


def task_of(program: StageProgram, task: TaskPack) -> TaskPack:
    """The task with the prompts that a program has now."""
    changes: dict[str, Any] = {}
    if hasattr(program, "infer"):
        told, demos = _told(program.infer.predict), _demos(program.infer.predict.demos, _terms_demo)
        changes["infer"] = InferPrompt(instructions=told, notes="", demos=demos)
    if hasattr(program, "rank"):
        told, demos = _told(program.rank.predict), _demos(program.rank.predict.demos, _ranking_demo)
        question = task.rank.question
        changes["rank"] = RankPrompt(instructions=told, question=question, notes="", demos=demos)
    return task.model_copy(update=changes)


def _told(predict: Any) -> str:
    return str(predict.signature.instructions).strip()


def _demos(demos: Sequence[Any], read: Any) -> tuple[Demo, ...]:
    found = (read(demo) for demo in demos)
    return tuple(demo for demo in found if demo is not None)


def _terms_demo(demo: Any) -> Demo | None:
    terms = _distinct(demo["terms"])
    return Demo(text=demo_text(demo["text"]), terms=terms) if terms else None


def _ranking_demo(demo: Any) -> Demo | None:
    candidates = tuple(line.partition(" ")[2][:MAX_NAME] for line in demo["candidates"].split("\n"))
    named = [candidates[n - 1] for n in demo["ranking"] if 1 <= n <= len(candidates)]
    terms = _distinct(named)
    return Demo(text=demo_text(demo["text"]), terms=terms, candidates=candidates) if terms else None


def _distinct(terms: Sequence[str]) -> tuple[str, ...]:
    cleaned = (" ".join(clean(term).split())[:MAX_NAME] for term in terms)
    return tuple({term.casefold(): term for term in cleaned if term}.values())[:MAX_TERMS]
