"""The stages as one DSPy program for optimizers, and the log of the prompts that they try."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from irr.config import RankMethod, Settings
from irr.errors import LMUnavailableError
from irr.evaluate.metrics import METRICS
from irr.io.texts import GoldRow
from irr.lm.base import LanguageModel
from irr.optimize.dspy_adapter import as_lm_error, dspy_model, lean_json, prepare_dspy
from irr.optimize.modules import OrderCandidates, ProposeTerms
from irr.optimize.scorer import Plan, Scorer
from irr.prompts.pack import MAX_NAME, MAX_TERMS, Demo, InferPrompt, RankPrompt, TaskPack, demo_text
from irr.prompts.templates import RankingPrompt, TermPrompt, numbered
from irr.rank.base import by_score
from irr.rank.listwise import places
from irr.rank.lm import fuse
from irr.retrieve.examples import demo_of
from irr.text.words import clean
from irr.types import Candidate, Example, Query, QueryKind

if TYPE_CHECKING:
    import dspy
else:
    dspy = prepare_dspy()

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
            queries = list(self._program.inferer.infer([text])[0].queries)
            queries += [Query(text=term, kind=QueryKind.TERM) for term in terms]
            with self._retrieving:
                (self._known[key],) = self._program.retriever.retrieve([queries], self._depth)
        return self._known[key]

    def shown(self, text: str, candidates: Sequence[Candidate]) -> str:
        """The part of a text that the ranking model reads."""
        return self._program.shown(text, candidates)

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
