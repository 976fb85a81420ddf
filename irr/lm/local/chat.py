"""Answers a chat request with the in-process model: greedy text, or a JSON list."""

from __future__ import annotations

import asyncio
from typing import Any

from irr.errors import LMError
from irr.lm.base import ChatRequest
from irr.lm.local.decoding import writing_for
from irr.lm.local.transformer import Transformer
from irr.lm.usage import count

_MAX_TOKENS = 160


async def answer(transformer: Transformer, request: ChatRequest) -> str:
    """Answers one request and counts its cost; decoding is greedy and ignores sampling settings.

    A list that is cut at `max_tokens` loses its unfinished item.

    Raises:
        LMError: If the prompt is too long, the schema is not an object with one list of strings or of
            bounded integers, or `max_tokens` ended the answer before the first item.
    """
    writing = writing_for(request.schema, request.stop, transformer)
    ids = transformer.tokens(_prompt(request, transformer.tokenizer) + writing.opening)
    limit = request.max_tokens or _MAX_TOKENS
    whole, usage = await asyncio.to_thread(transformer.write, ids, writing, limit)
    # Counted here, because threads would write to a shared meter.
    count(usage)
    if not whole and not writing.usable_when_cut:
        raise LMError("truncated", f"the answer is longer than {limit:,} tokens", "allow more tokens")
    return writing.text


def _prompt(request: ChatRequest, tokenizer: Any) -> str:
    if tokenizer.chat_template is None:
        return "".join(f"{text}\n\n" for _, text in request.messages)
    messages = [{"role": role, "content": text} for role, text in request.messages]
    prompt: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return prompt
