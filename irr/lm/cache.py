"""Models within a budget: every request is counted, and no answer is paid for twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from irr.config import TOLERATED
from irr.errors import BudgetSpentError, LMError, LMUnavailableError, OutputError
from irr.io.outputs import append_line, whole_lines
from irr.lm.protocol import ChatRequest, LanguageModel, metered
from irr.text.strings import counted
from irr.types import Usage

T = TypeVar("T")


class Budget:
    """Counts requests, all on one event loop, and refuses further ones when it is spent or stopped.

    Attributes:
        usage: The usage so far.
        reason: The reason to end early; "" while requests are allowed.
        silent: Whether the reason is a model that no longer answers.
        failure: The error of a model that is unavailable, which ends everything.
        running: The requests under way.

    Args:
        calls: The most requests; any number if None.
        on_call: Called after each request.
        spent: How many of them earlier calls made.
    """

    def __init__(
        self, calls: int | None = None, on_call: Callable[[], None] = lambda: None, spent: int = 0
    ) -> None:
        self.usage = Usage()
        self.reason = ""
        self.silent = False
        self.failure: LMUnavailableError | None = None
        self.running: set[asyncio.Task[Any]] = set()
        self._calls = calls
        self._started = spent
        self._unanswered = 0
        self._on_call = on_call

    def stop(self, reason: str) -> None:
        """Refuses all further requests and trials."""
        self.reason = self.reason or reason

    @contextmanager
    def trial(self, texts: int) -> Iterator[None]:
        """Encloses a trial; a BudgetSpentError after it if more than a tenth of its texts had no answer."""
        before = self._unanswered
        yield
        if (unanswered := self._unanswered - before) > TOLERATED * texts:
            left = counted(unanswered, "request")
            self.stop(f"the model left {left} of a trial of {counted(texts, 'text')} unanswered")
            self.silent = True
            raise BudgetSpentError(self.reason)

    def start(self) -> None:
        """Takes one request off the budget; a BudgetSpentError, or a model's failure, if none is allowed."""
        if self._calls is not None and self._started >= self._calls:
            self.stop(f"the budget of {counted(self._calls, 'call')} is spent")
        if self.failure:
            raise self.failure
        if self.reason:
            raise BudgetSpentError(self.reason)
        self._started += 1

    def end(self, usage: Usage, error: LMError | None = None) -> None:
        """Records what a request cost, and how it failed."""
        if isinstance(error, LMUnavailableError):
            self.failure = error
        self._unanswered += error is not None and error.retryable
        self.usage = self.usage + usage
        self._on_call()


class _AnswerRow(BaseModel):
    """A request: what it cost, its key, and its answer if it has one in words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usage: Usage
    request: str | None = None
    answer: str = ""


class Answers:
    """Answers of models, in memory or in a file with one JSON line a request.

    Attributes:
        known: The answers by the keys of their requests.
        requests: The number of requests that cost something.
        spent: Their cost, that of requests without an answer included.

    Args:
        path: The file, which is made with the first answer; None for memory alone.

    Raises:
        OutputError: If the file holds something else, or cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.known: dict[str, str] = {}
        self.requests = 0
        self.spent = Usage()
        try:
            content = path.read_bytes() if path and path.exists() else b""
        except OSError as e:
            raise OutputError(str(path), f"cannot be written ({e.strerror})", "name another output") from e
        # A kill may tear off the last line.
        for number, line in enumerate((whole_lines(content) or content).splitlines(), 1):
            try:
                self._count(_AnswerRow.model_validate_json(line))
            except ValidationError as e:
                problem = "holds something else than answers"
                raise OutputError(str(path), problem, "move it away", number) from e

    def add(self, usage: Usage, request: str | None = None, answer: str = "") -> None:
        """Keeps the cost of a request, and its answer if it has a key; a file has them on the disk then."""
        if request is None and usage == Usage():
            return  # it was not sent
        row = _AnswerRow(request=request, answer=answer, usage=usage)
        if self._path:
            line = json.dumps(row.model_dump(exclude_defaults=True), ensure_ascii=False) + "\n"
            append_line(self._path, line.encode("utf-8", "replace"))
        self._count(row)

    def _count(self, row: _AnswerRow) -> None:
        if row.request is not None:
            self.known[row.request] = row.answer
        self.requests += 1
        self.spent = self.spent + row.usage


class CachedModel:
    """A language model within a budget, which answers repeated requests at temperature 0 from a cache.

    When the budget refuses a request, those under way are answered and kept before the error is raised.

    Args:
        model: Answers new requests.
        budget: Counts them; models may share it.
        answers: Keeps its answers in words, those of other models too if they have other names.
    """

    def __init__(self, model: LanguageModel, budget: Budget, answers: Answers | None = None) -> None:
        self.model = model
        self.name = model.name
        self.revision = getattr(model, "revision", None)
        self.concurrency = model.concurrency
        self.capabilities = model.capabilities
        self._budget = budget
        self._answers = Answers() if answers is None else answers
        self._judged: dict[tuple[str, ...], dict[str, float]] = {}

    async def chat(self, request: ChatRequest) -> str:
        """As the model's; a BudgetSpentError if the answer is not known and the budget allows no request."""
        key = None
        if not request.temperature:
            asked = [self.name, request.messages, request.max_tokens, request.schema, request.stop]
            key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
            if key in self._answers.known:
                return self._answers.known[key]
        return await self._request(lambda: self.model.chat(request), key)

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """As the model's; only items that are not known are asked about. A file keeps their cost only."""
        known = self._judged.setdefault((prefix, context, yes, no), {})
        if new := [item for item in dict.fromkeys(items) if item not in known]:
            values = await self._request(lambda: self.model.probabilities(prefix, context, new, yes, no))
            known.update(zip(new, values, strict=True))
        return [known[item] for item in items]

    async def _request(self, ask: Callable[[], Awaitable[T]], key: str | None = None) -> T:
        running = self._budget.running
        try:
            self._budget.start()
        except BudgetSpentError:
            if running:
                await asyncio.wait(list(running))
            raise
        request = asyncio.ensure_future(self._answer(ask, key))
        running.add(request)
        request.add_done_callback(running.discard)
        # An answer that is paid for is kept, even where its caller no longer waits for it.
        return await asyncio.shield(request)

    async def _answer(self, ask: Callable[[], Awaitable[T]], key: str | None) -> T:
        with metered() as meter:
            try:
                answer = await ask()
            except LMError as e:
                self._answers.add(meter.usage)
                self._budget.end(meter.usage, e)
                raise
        self._answers.add(meter.usage, key, str(answer) if key else "")
        self._budget.end(meter.usage)
        return answer
