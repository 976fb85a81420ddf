"""A language model that remembers its answers in a file, so that a call that was killed goes on for free."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from irr.errors import LMError, OutputError
from irr.io.outputs import append_line, whole_lines
from irr.lm.base import ChatRequest, LanguageModel
from irr.lm.usage import Meter, count, metered
from irr.types import Usage

T = TypeVar("T")

# Seconds between looks at whether requests are under way.
_POLITE = 0.02


class _Row(BaseModel):
    """A request: its key and its answer, if it has one in words, and what it cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usage: Usage
    request: str | None = None
    answer: str = ""


class Answers:
    """Answers of models in a file, one JSON line a request, with what it cost.

    Attributes:
        spent: What all requests in the file cost, those that left no answer in words included.
        under_way: Requests that were sent and not answered yet.

    Args:
        path: The file; it is made with the first answer.

    Raises:
        OutputError: If it holds something else, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        self._requests = 0
        self.spent = Usage()
        self.under_way = 0
        try:
            for row in _read(path):
                self._count(row)
        except OSError as e:
            raise OutputError(path, f"cannot be written ({e.strerror})", "name another output") from e

    def __len__(self) -> int:
        return self._requests

    def get(self, request: str) -> str | None:
        """The answer to a request; None if it is not known."""
        return self._known.get(request)

    def add(self, request: str, answer: str, usage: Usage) -> None:
        """Keeps an answer, written through to the disk."""
        self._write(_Row(request=request, answer=answer, usage=usage))

    def charge(self, usage: Usage) -> None:
        """Keeps what a request cost that left no answer in words; one that cost nothing was not sent."""
        if usage != Usage():
            self._write(_Row(usage=usage))

    def forget(self) -> None:
        """Removes the file, and forgets what it held."""
        self._path.unlink(missing_ok=True)
        self._known, self._requests, self.spent = {}, 0, Usage()

    def _write(self, row: _Row) -> None:
        line = json.dumps(row.model_dump(exclude_defaults=True), ensure_ascii=False) + "\n"
        append_line(self._path, line.encode("utf-8", "replace"))
        self._count(row)

    def _count(self, row: _Row) -> None:
        if row.request is not None:
            self._known[row.request] = row.answer
        self._requests += 1
        self.spent = self.spent + row.usage


class RememberingModel:
    """Answers chats, from answers that are kept where there is one.

    Args:
        model: Answers what is new.
        answers: Those that are kept.
    """

    def __init__(self, model: LanguageModel, answers: Answers) -> None:
        self._model = model
        self._answers = answers
        self.name = model.name
        self.revision = getattr(model, "revision", None)
        self.concurrency = model.concurrency
        self.capabilities = model.capabilities

    async def chat(self, request: ChatRequest) -> str:
        """Answers in words.

        Raises:
            LMError: If the model gives no usable answer.
        """
        said = [self.name, request.messages, request.max_tokens, request.schema]
        key = hashlib.sha256(json.dumps(said).encode()).hexdigest()
        known = self._answers.get(key)
        if known is not None:
            return known
        answer, usage = await self._asked(self._model.chat(request))
        self._answers.add(key, answer, usage)
        return answer

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """As the model's; only the cost is kept."""
        return await self._judged(self._model.probabilities(prefix, context, items, yes, no))

    async def _judged(self, work: Awaitable[list[float]]) -> list[float]:
        values, usage = await self._asked(work)
        self._answers.charge(usage)
        return values

    async def _asked(self, work: Awaitable[T]) -> tuple[T, Usage]:
        """The answer to a request, and what it cost."""
        try:
            return await self._counted(work)
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException:  # a budget is spent: whoever called ends all
            # Until no request is under way, so that none that is paid for is cancelled.
            while self._answers.under_way:
                await asyncio.sleep(_POLITE)
            raise

    async def _counted(self, work: Awaitable[T]) -> tuple[T, Usage]:
        self._answers.under_way += 1
        meter = Meter()
        try:
            with metered() as meter:
                return await work, meter.usage
        except LMError:
            self._answers.charge(meter.usage)
            raise
        finally:
            self._answers.under_way -= 1
            count(meter.usage)  # for whoever adds up the costs of the text


def _read(path: Path) -> list[_Row]:
    """The rows of a file, without what a kill left of the last line."""
    if not path.exists():
        return []
    content = path.read_bytes()
    rows = []
    for number, line in enumerate(whole_lines(content).splitlines(), 1):
        try:
            rows.append(_Row.model_validate_json(line))
        except ValidationError as e:
            raise OutputError(path, "holds something else than answers", "move it away", number) from e
    if content and not rows:
        raise OutputError(path, "holds something else than answers", "move it away")
    return rows
