"""A language model that remembers its answers in a file, so that a call that was killed goes on for free."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from irr.errors import OutputError
from irr.lm.base import ChatRequest, LanguageModel

# Seconds between looks at whether requests are under way.
_POLITE = 0.02


class Answers:
    """Answers of models in a file, one JSON line each.

    Args:
        path: The file; it is made with the first answer.

    Raises:
        OutputError: If it holds something else, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known = _read(path)
        except OSError as e:
            raise OutputError(path, f"cannot be written ({e.strerror})", "name another output") from e

    def __len__(self) -> int:
        return len(self._known)

    def get(self, request: str) -> str | None:
        """The answer to a request; None if it is not known."""
        return self._known.get(request)

    def add(self, request: str, answer: str) -> None:
        """Keeps an answer, written through to the disk."""
        line = json.dumps({"request": request, "answer": answer}, ensure_ascii=False) + "\n"
        with self._path.open("ab") as file:
            file.write(line.encode("utf-8", "replace"))
            file.flush()
            os.fsync(file.fileno())
        self._known[request] = answer

    def forget(self) -> None:
        """Removes the file, and forgets what it held."""
        self._path.unlink(missing_ok=True)
        self._known = {}


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
        self._under_way = 0

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
        try:
            answer = await self._asked(request)
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException:  # a budget is spent: whoever called ends all
            await self._settled()
            raise
        self._answers.add(key, answer)
        return answer

    async def _asked(self, request: ChatRequest) -> str:
        self._under_way += 1
        try:
            return await self._model.chat(request)
        finally:
            self._under_way -= 1

    async def _settled(self) -> None:
        """Waits until no request is under way, so that none that is paid for is cancelled."""
        while self._under_way:
            await asyncio.sleep(_POLITE)

    async def loglikelihoods(self, prefix: str, context: str, continuations: Sequence[str]) -> list[float]:
        """As the model's."""
        return await self._model.loglikelihoods(prefix, context, continuations)

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """As the model's."""
        return await self._model.probabilities(prefix, context, items, yes, no)


def _read(path: Path) -> dict[str, str]:
    """The answers of a file; what a kill left of the last line is cut off."""
    if not path.exists():
        return {}
    whole = path.read_bytes()
    kept = whole[: whole.rfind(b"\n") + 1]
    known = {}
    for number, line in enumerate(kept.splitlines(), 1):
        try:
            row = json.loads(line)
            known[str(row["request"])] = str(row["answer"])
        except (ValueError, KeyError, TypeError) as e:
            raise OutputError(path, "holds something else than answers", "move it away", number) from e
    if len(kept) < len(whole):
        if not known:
            raise OutputError(path, "holds something else than answers", "move it away")
        os.truncate(path, len(kept))
    return known
