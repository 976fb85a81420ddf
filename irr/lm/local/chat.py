"""What the in-process model answers: a chat request in, greedy text or a JSON list out."""

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
    """Answers one request and counts its cost; sampling settings have no effect on a greedy model.

    A list that is cut at `max_tokens` is answered without the item that was being written.

    Raises:
        LMError: If the prompt is too long, the schema is not an object with one list of strings or of
            bounded integers, or `max_tokens` ended the answer before anything of use.
    """
    writing = writing_for(request.schema, request.stop, transformer)
    ids = transformer.tokens(_prompt(request, transformer.tokenizer) + writing.opening)
    limit = request.max_tokens or _MAX_TOKENS
    whole, usage = await asyncio.to_thread(transformer.write, ids, writing, limit)
    # Not counted in the thread: several of them would write to a meter that they share.
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
