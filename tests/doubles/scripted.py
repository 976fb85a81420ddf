"""A language model that answers from a script, for what a real one does only by accident."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from irr.errors import LMError
from irr.lm.protocol import Capabilities, ChatRequest, count
from irr.types import Usage

Reply = Callable[[ChatRequest], "str | LMError"]


class ScriptedModel:
    """Answers chats by `reply`, and judges a label by how many letters of it stand in the text."""

    name = "scripted"
    concurrency = 64
    capabilities = Capabilities()

    def __init__(self, reply: Reply | None = None, fails: LMError | None = None) -> None:
        self._reply = reply
        self._fails = fails
        self.requests: list[ChatRequest] = []
        self.judged: list[tuple[str, str, tuple[str, ...]]] = []

    async def chat(self, request: ChatRequest) -> str:
        self.requests.append(request)
        answer = self._reply(request) if self._reply else LMError("empty", "no script")
        if isinstance(answer, LMError):
            raise answer
        count(Usage(calls=1, prompt_tokens=100, cached_tokens=60, completion_tokens=7, seconds=0.5))
        return answer

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        return self._judge(prefix, context, items)

    def _judge(self, prefix: str, context: str, items: Sequence[str]) -> list[float]:
        if self._fails:
            raise self._fails
        self.judged.append((prefix, context, tuple(items)))
        count(Usage(calls=1, prompt_tokens=10))
        return [sum(c in context for c in set(item)) / len(set(item)) * 0.9 for item in items]


def chat(text: str) -> ChatRequest:
    """A request of one message."""
    return ChatRequest((("user", text),))
