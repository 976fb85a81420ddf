"""Probabilities from vLLM's own endpoints."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from irr.errors import LMError
from irr.lm.openai.failures import NEEDS_VLLM
from irr.lm.openai.transport import Endpoint

# Pieces of prompts whose tokens are kept.
_REMEMBERED = 50_000


class VLLMScoring:
    """Scores items with a model on a vLLM server.

    Args:
        name: The model's name on the server.
        endpoint: The server.
        post: Posts a request body to a URL for the model, and counts its usage.
    """

    def __init__(
        self, name: str, endpoint: Endpoint, post: Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
    ) -> None:
        self._name = name
        self._endpoint = endpoint
        self._post = post
        self._tokens: dict[str, list[int]] = {}

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """The probability of `yes` against `no` after `prefix + context + item`, for each item.

        Only the first token of each word counts.

        Raises:
            LMError: If the server gives no usable answer; `bad_request` if it is not vLLM.
        """
        if not items:
            return []
        (query, limit), *words = await asyncio.gather(
            self._tokenize(prefix + context, special=True), self._piece_tokens(yes), self._piece_tokens(no)
        )
        if not all(words) or words[0][0] == words[1][0]:
            raise LMError("bad_request", f"{yes!r} and {no!r} begin with the same token", "use other words")
        await self._check_items(items, limit - len(query) - 1)
        answer = await self._post(
            f"{self._endpoint.root}/generative_scoring",
            {
                "query": query,
                "items": list(items),
                "label_token_ids": [word[0] for word in words],
                "apply_softmax": True,
            },
        )
        try:
            scores = {row["index"]: float(row["score"]) for row in answer["data"]}
            return [_finite(scores[i]) for i in range(len(items))]
        except (KeyError, TypeError, ValueError) as e:
            raise LMError("unparsable", "the server's scores do not fit the items") from e

    async def _check_items(self, items: Sequence[str], room: int) -> None:
        """Checks the length of the items, because vLLM would cut long ones without an error."""
        # A token stands for at least one byte, so that only long items have to be counted.
        long = [item for item in items if 2 * len(item.encode("utf-8", "replace")) + 8 > room]
        for tokens in await asyncio.gather(*map(self._piece_tokens, long)):
            _check_length(len(tokens), room)

    async def _piece_tokens(self, text: str) -> list[int]:
        """The tokens of a piece within a prompt; cached, because labels recur."""
        tokens = self._tokens.get(text)
        if tokens is None:
            tokens, _ = await self._tokenize(text, special=False)
            if len(self._tokens) >= _REMEMBERED:
                self._tokens.clear()
            self._tokens[text] = tokens
        return tokens

    async def _tokenize(self, text: str, *, special: bool) -> tuple[list[int], int]:
        """The tokens of a text, and the model's context length."""
        body = {"model": self._name, "prompt": text, "add_special_tokens": special}
        answer, _ = await self._endpoint.post(f"{self._endpoint.root}/tokenize", body)
        try:
            return [int(token) for token in answer["tokens"]], int(answer["max_model_len"])
        except (KeyError, TypeError, ValueError) as e:
            raise LMError("bad_request", "the server's /tokenize is not vLLM's", NEEDS_VLLM) from e


def _check_length(tokens: int, limit: int) -> None:
    if tokens > limit:
        raise LMError("too_long", f"the prompt is too long for the model: {tokens} tokens, {limit} fit")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(value)
    return value
