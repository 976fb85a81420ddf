"""Likelihoods and probabilities from vLLM's own endpoints."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Any

from irr.errors import LMError
from irr.lm.openai.failures import NEEDS_VLLM
from irr.lm.openai.transport import Endpoint

# The first tokens of a continuation; the probability of the last one is asked for.
_Step = tuple[int, ...]
# Tokens whose log-probabilities vLLM returns at a time, its default of --max-logprobs.
_TOKENS_A_REQUEST = 20
# Pieces of prompts whose tokens are kept.
_REMEMBERED = 50_000


class VLLMScoring:
    """Scores continuations and items with a model on a vLLM server.

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

    async def loglikelihoods(self, prefix: str, context: str, continuations: Sequence[str]) -> list[float]:
        """The mean log-probability per token of each continuation after `prefix + context`.

        Each request asks for one token: vLLM then reads the prompt from its cache, and beginnings that
        continuations share once, while `prompt_logprobs` would compute every prompt anew.

        Args:
            prefix: The part that all texts share.
            context: The part of this text.
            continuations: Possible continuations, each with its end token.

        Raises:
            LMError: If the server gives no usable answer; `bad_request` if it is not vLLM.
        """
        head, limit = await self._tokenize(prefix + context, special=True)
        tails = await asyncio.gather(*map(self._piece_tokens, continuations))
        if not all(tails):
            raise LMError("bad_request", "a continuation has no tokens")
        # The last token of a continuation is not sent, and one token is generated.
        _check_length(len(head) + max(map(len, tails), default=0), limit)
        paths = [[tuple(tail[:end]) for end in range(1, len(tail) + 1)] for tail in tails]
        steps = {step for path in paths for step in path}
        parts = await asyncio.gather(*(self._next_tokens(head, group) for group in _groups(steps)))
        known = {step: value for part in parts for step, value in part.items()}
        return [sum(known[step] for step in path) / len(path) for path in paths]

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

    async def _next_tokens(self, head: list[int], steps: Sequence[_Step]) -> dict[_Step, float]:
        """The log-probability of each step's last token after `head` and the tokens before it."""
        before = list(dict.fromkeys(step[:-1] for step in steps))
        wanted = list(dict.fromkeys(step[-1] for step in steps))
        answer = await self._post(
            f"{self._endpoint.base}/completions",
            {
                "prompt": [[*head, *tokens] for tokens in before],
                "max_tokens": 1,
                "temperature": 0,
                "logprobs": len(wanted),
                "logprob_token_ids": wanted,
                "return_tokens_as_token_ids": True,
            },
        )
        try:
            rows = {before[row["index"]]: row["logprobs"]["top_logprobs"][0] for row in answer["choices"]}
            return {step: _finite(rows[step[:-1]][f"token_id:{step[-1]}"]) for step in steps}
        except (KeyError, TypeError, ValueError, IndexError) as e:
            raise LMError("bad_request", "the server returns no token probabilities", NEEDS_VLLM) from e

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


def _groups(steps: Collection[_Step]) -> Iterator[list[_Step]]:
    """Groups of steps that one request can answer; steps with the same last token stay together."""
    by_token: dict[int, list[_Step]] = {}
    for step in steps:
        by_token.setdefault(step[-1], []).append(step)
    tokens = list(by_token)
    for start in range(0, len(tokens), _TOKENS_A_REQUEST):
        yield [step for token in tokens[start : start + _TOKENS_A_REQUEST] for step in by_token[token]]


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(value)
    return value
