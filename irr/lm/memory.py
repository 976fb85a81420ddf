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


class RememberingModel:
    """Answers chats, from the file where it has answered before.

    Args:
        model: Answers what is new.
        path: One JSON line an answer, written through to the disk before it is used.

    Attributes:
        remembered: Answers that the file held.

    Raises:
        OutputError: If the file is no such file, or cannot be written.
    """

    def __init__(self, model: LanguageModel, path: Path) -> None:
        self._model = model
        self._path = path
        self.name = model.name
        self.revision = getattr(model, "revision", None)
        self.concurrency = model.concurrency
        self.capabilities = model.capabilities
        try:
            self._known = _read(path)
        except OSError as e:
            raise OutputError(path, f"cannot be written ({e.strerror})", "name another output") from e
        self.remembered = len(self._known)
        self._under_way = 0

    async def chat(self, request: ChatRequest) -> str:
        """Answers in words.

        Raises:
            LMError: If the model gives no usable answer.
        """
        said = [self.name, request.messages, request.max_tokens, request.schema]
        key = hashlib.sha256(json.dumps(said).encode()).hexdigest()
        if key not in self._known:
            try:
                answer = await self._asked(request)
            except (Exception, asyncio.CancelledError):
                raise
            except BaseException:  # a budget is spent: whoever called ends all
                await self._settled()
                raise
            line = json.dumps({"request": key, "answer": answer}, ensure_ascii=False) + "\n"
            with self._path.open("ab") as file:
                file.write(line.encode("utf-8", "replace"))
                file.flush()
                os.fsync(file.fileno())
            self._known[key] = answer
        return self._known[key]

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

    def forget(self) -> None:
        """Removes the file: what it was kept for is done."""
        self._path.unlink(missing_ok=True)


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
