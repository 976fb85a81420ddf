"""A language model in this process: transformers runs it, llguidance holds its answers to a JSON schema."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from irr.errors import IrrError, LMError
from irr.hub import load_pretrained, weights_revision
from irr.lm.packaged import ALIAS, packaged_folder, read_model, require
from irr.lm.protocol import Capabilities, ChatRequest, count
from irr.types import Usage

_MAX_TOKENS = 160


class EmbeddedModel:
    """A transformers model on the CPU, in float32, which serves one call at a time.

    Args:
        name: `embedded` for SmolLM2-135M-Instruct, or a model's folder or name on the hub.

    Raises:
        MissingExtraError: If the packages of the extra `embedded` are not installed.
        IrrError: If the model is neither here nor on the hub, or cannot be used in process.
    """

    capabilities = Capabilities(writes_instructions=False, local=True)

    def __init__(self, name: str = ALIAS) -> None:
        self.name = name
        self.concurrency = 1
        if name != ALIAS:
            self.capabilities = Capabilities(local=True)
        require("llguidance")
        folder = packaged_folder() if name == ALIAS else None
        self._tokenizer, self._model = load_pretrained(name, read_model, "language model", IrrError, folder)
        config = self._model.config
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"} or not getattr(config, "max_position_embeddings", None):
            problem = f"{name} cannot be used in process: not every layer reads the whole text"
            raise IrrError(problem, "serve it instead, for example with vLLM")
        self._context: int = config.max_position_embeddings
        ends = self._model.generation_config.eos_token_id
        self._ends = {self._tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
        self._lock = threading.Lock()

    @cached_property
    def revision(self) -> str:
        """The hash of its weights."""
        return weights_revision(self._model)

    async def chat(self, request: ChatRequest) -> str:
        """Answers in words by greedy decoding; sampling settings are ignored.

        Raises:
            LMError: If the prompt is too long, `max_tokens` ends the answer, or the schema is not supported.
        """
        text, ended, usage = await asyncio.to_thread(self._write, request)
        count(usage)  # not in the thread, because the meter is shared
        if not ended:
            raise LMError("truncated", "the answer was cut off", "allow more tokens, or ask for less")
        return text

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """As every model's; only the first tokens of `yes` and `no` count.

        Raises:
            LMError: If it is too long for the model, or `yes` and `no` begin with the same token.
        """
        words = [ids[0] for word in (yes, no) if (ids := self._tokens(word))]
        if len(set(words)) != 2:
            raise LMError("bad_request", f"{yes!r} and {no!r} begin with the same token", "use other words")
        head, tails = self._tokens(prefix + context), list(map(self._tokens, items))
        if not items:
            return []
        if not head:
            raise LMError("bad_request", "the prompt is empty", "give a prefix or a context")
        self._check_length(len(head) + max(map(len, tails)))
        values, usage = await asyncio.to_thread(self._judge, head, tails, words)
        count(usage)
        return values

    def _write(self, request: ChatRequest) -> tuple[str, bool, Usage]:
        """The answer, whether the model ended it, and its cost."""
        from transformers import DynamicCache

        started = time.perf_counter()
        prompt = self._tokens(self._prompt(request))
        self._check_length(len(prompt) + 1)
        matcher = None if request.schema is None else self._matcher(request.schema)
        limit = min(request.max_tokens or _MAX_TOKENS, self._context - len(prompt))
        written: list[int] = []
        text, ended, cache = "", False, DynamicCache()
        with self._lock:
            while not ended and len(written) < limit:
                logits = self._read(written[-1:] or prompt, cache)
                written.append(int((_masked(logits, matcher) if matcher else logits).argmax()))
                ended = written[-1] in self._ends
                if matcher and matcher.consume_token(written[-1]):
                    ended = ended or matcher.is_stopped()
                text = self._tokenizer.decode(written, skip_special_tokens=True)
                if stops := [text.index(stop) for stop in request.stop if stop in text]:
                    text, ended = text[: min(stops)], True
        return text, ended, _usage(len(prompt), len(written), started)

    def _judge(self, head: list[int], tails: list[list[int]], words: list[int]) -> tuple[list[float], Usage]:
        """The probability of the first word against the second after each tail, and the cost."""
        from transformers import DynamicCache

        started, cache = time.perf_counter(), DynamicCache()
        values = []
        with self._lock:
            self._read(head, cache)
            for tail in tails:
                # The last token of the head is read again, because a tail may be empty.
                cache.crop(len(head) - 1 - cache.get_seq_length())
                logits = self._read([head[-1], *tail], cache)
                values.append(float(logits[words].softmax(0)[0]))
        return values, _usage(len(head) + sum(map(len, tails)), 0, started)

    def _read(self, ids: list[int], cache: Any) -> Any:
        """The logits of the token after the cached tokens and `ids`, which enter the cache."""
        import torch

        with torch.inference_mode():
            return self._model(torch.tensor([ids]), cache=cache, logits_to_keep=1).logits[0, -1]

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _check_length(self, tokens: int) -> None:
        if tokens > self._context:
            problem = f"the prompt is too long for the model: {tokens:,} tokens, {self._context:,} fit"
            raise LMError("too_long", problem)

    def _prompt(self, request: ChatRequest) -> str:
        if self._tokenizer.chat_template is None:
            return "".join(f"{text}\n\n" for _, text in request.messages)
        messages = [{"role": role, "content": text} for role, text in request.messages]
        return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _matcher(self, schema: Mapping[str, Any]) -> Any:
        """Follows an answer token by token, and allows the tokens that lead to JSON of the schema."""
        from llguidance import LLMatcher

        compact: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        grammar = LLMatcher.grammar_from_json_schema(dict(schema), overrides=compact)
        matcher = LLMatcher(self._vocabulary, grammar, log_level=0)
        if error := matcher.get_error():
            problem = f"the schema of the answer is not supported: {error.splitlines()[0][:200]}"
            raise LMError("bad_request", problem, "serve the model for other answers")
        return matcher

    @cached_property
    def _vocabulary(self) -> Any:
        from llguidance.hf import from_tokenizer

        size = self._model.get_output_embeddings().weight.shape[0]
        return from_tokenizer(self._tokenizer, n_vocab=size, eos_token=sorted(self._ends))


def _masked(logits: Any, matcher: Any) -> Any:
    """The logits of the tokens that the matcher allows; minus infinity for the others."""
    import numpy as np
    import torch

    bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
    allowed = torch.from_numpy(np.unpackbits(bits, count=len(logits), bitorder="little")).bool()
    return logits.masked_fill(~allowed, float("-inf"))


def _usage(prompt: int, written: int, started: float) -> Usage:
    seconds = time.perf_counter() - started
    return Usage(calls=1, prompt_tokens=prompt, completion_tokens=written, seconds=seconds)
