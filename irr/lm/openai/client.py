"""A language model behind an OpenAI-compatible server, vLLM or another."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from irr.errors import LMError
from irr.lm.base import Capabilities, ChatRequest
from irr.lm.openai.address import answer_without_key
from irr.lm.openai.limits import Limits
from irr.lm.openai.scoring import VLLMScoring
from irr.lm.openai.transport import Endpoint
from irr.lm.usage import count
from irr.types import Usage

OPENAI = "https://api.openai.com/v1"

logger = logging.getLogger(__name__)


class ServedModel:
    """A model on an OpenAI-compatible server, whose key is read from `OPENAI_API_KEY`.

    `chat` works on any such server; `probabilities` needs vLLM.

    Args:
        name: The model's name on the server.
        api_base: The server's address, usually ending in `/v1`.
        timeout: Seconds of one try.
        retries: Further tries after a failure that may pass.
        concurrency: Requests at a time, in place of `limits.concurrency`.
        limits: Concurrency and rate limits.

    Raises:
        UsageError: If the address is not a plain http(s) URL.
    """

    capabilities = Capabilities()

    def __init__(
        self,
        name: str,
        api_base: str,
        *,
        timeout: float = 120,
        retries: int = 3,
        concurrency: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        if concurrency is not None:
            limits = replace(limits, concurrency=concurrency)
        self.name = name
        self.concurrency = limits.concurrency
        self._endpoint = Endpoint(api_base, timeout=timeout, retries=retries, limits=limits)
        self._unsupported: set[str] = set()
        self._scoring = VLLMScoring(name, self._endpoint, self._post)

    @classmethod
    def open(cls, name: str, api_base: str | None, limits: Limits | None) -> ServedModel:
        """The model of that name at a server; OpenAI's own if no address is given."""
        return cls(name, api_base or OPENAI, limits=limits)

    async def chat(self, request: ChatRequest) -> str:
        """Answers in words; a setting that the server rejects is left out of all further requests.

        Raises:
            LMError: If the server gives no usable answer.
        """
        while True:
            body = self._chat_body(request)
            try:
                answer = await self._post(f"{self._endpoint.base}/chat/completions", body)
                break
            except LMError as e:
                refused = _unsupported(e)
                if refused is None or refused not in body:
                    raise
                logger.warning("model %s does not take %s: asking without it", self.name, refused)
                self._unsupported.add(refused)
        try:
            choice = answer["choices"][0]
            text, finish = choice["message"].get("content") or "", choice.get("finish_reason")
        except (KeyError, IndexError, TypeError, AttributeError) as e:
            raise LMError("unparsable", "the server's answer is not a chat completion") from e
        # Checked here, because DSPy would complete JSON that was cut off.
        if finish == "length":
            raise LMError("truncated", "the answer was cut off", "allow more tokens, or ask for less")
        if not isinstance(text, str) or not text.strip():
            raise LMError("empty", "the model answered nothing")
        return answer_without_key(text)

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """The probability of `yes` against `no` after `prefix + context + item`, for each item, by vLLM.

        Raises:
            LMError: If the server gives no usable answer; `bad_request` if it is not vLLM.
        """
        return await self._scoring.probabilities(prefix, context, items, yes, no)

    async def close(self) -> None:
        """Closes the connections of the running event loop."""
        await self._endpoint.close()

    def _chat_body(self, request: ChatRequest) -> dict[str, Any]:
        tokens = "max_completion_tokens" if "max_tokens" in self._unsupported else "max_tokens"
        temperature = None if "temperature" in self._unsupported else request.temperature
        body: dict[str, Any] = {
            "messages": [{"role": role, "content": text} for role, text in request.messages],
            tokens: request.max_tokens,
            "temperature": temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            "stop": list(request.stop) or None,
        }
        if "response_format" in self._unsupported:
            pass  # the prompt asks for JSON as well
        elif request.schema is not None:
            schema = {"name": "answer", "schema": request.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif request.json:
            body["response_format"] = {"type": "json_object"}
        return {key: value for key, value in body.items() if value is not None} | dict(request.extra)

    async def _post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        answer, seconds = await self._endpoint.post(url, {"model": self.name, **body})
        count(_usage(answer.get("usage"), seconds))
        return answer


def _usage(reported: Any, seconds: float) -> Usage:
    def number(name: str, source: Any) -> int:
        value = source.get(name) if isinstance(source, dict) else None
        return value if isinstance(value, int) else 0

    details = reported.get("prompt_tokens_details") if isinstance(reported, dict) else None
    return Usage(
        calls=1,
        prompt_tokens=number("prompt_tokens", reported),
        cached_tokens=number("cached_tokens", details),
        completion_tokens=number("completion_tokens", reported),
        seconds=seconds,
    )


def _unsupported(error: LMError) -> str | None:
    """The setting that a server rejects, as OpenAI's servers word it; None for other errors."""
    if error.code != "bad_request":
        return None
    if any(word in error.message for word in ("response_format", "json_schema", "schema")):
        return "response_format"
    if "nsupported" not in error.message:
        return None
    return next((name for name in ("max_tokens", "temperature") if f"'{name}'" in error.message), None)
