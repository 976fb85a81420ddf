"""A language model in this process: likelihoods and yes/no probabilities, and the model as DSPy calls it."""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from irr.errors import IrrError, LMError
from irr.lm import count
from irr.smollm import converted_folder
from irr.types import Usage

if TYPE_CHECKING:
    import dspy
    import torch

EMBEDDED = "embedded"
# Tokens that go through the model at once: with a vocabulary of 150,000 their logits take 300 MB.
_FORWARD_TOKENS = 512
# Prompts whose keys and values are kept, and how many of their leading tokens (0.05 MB each).
_KEPT_PROMPTS = 3
_KEPT_TOKENS = 2_048

logger = logging.getLogger(__name__)


class Writing(Protocol):
    """An answer while it is being written, token by token."""

    opening: str

    def allowed(self) -> list[int] | None:
        """The tokens that may come next; None for any."""
        ...

    def write(self, token: int) -> list[int]:
        """Takes the model's token and returns what the model reads next; nothing when the answer is whole."""
        ...


class EmbeddedModel:
    """A transformers model on the CPU, in float32; safe to call from many threads, which take turns.

    Args:
        name: `embedded` for SmolLM2-135M-Instruct, or a model's folder or its name on the hub.
        threads: How many threads torch uses; None leaves that to torch.

    Raises:
        MissingExtraError: If the embedded model's package is not installed.
        IrrError: If there is no such model here and none can be fetched, or it cannot be used in process.
    """

    def __init__(self, name: str = EMBEDDED, threads: int | None = None) -> None:
        self.name = name
        self.tokenizer, self._model = _load(name)
        self._context: int = self._model.config.max_position_embeddings
        self._ends = _end_tokens(self._model)
        self._kept = _KeptPrompts()
        self._lock = threading.Lock()
        if threads:
            import torch

            torch.set_num_threads(threads)

    def dspy_lm(self) -> dspy.LM:
        """The model as DSPy calls it: greedy, and JSON of one bounded list where a schema asks for it."""
        from irr.embedded_engine import dspy_lm

        return dspy_lm(self)

    async def loglikelihoods(self, prefix: str, context: str, continuations: Sequence[str]) -> list[float]:
        """The mean log-probability per token of each continuation after `prefix + context`.

        A continuation is split into tokens on its own, so let it begin where a word does.

        Raises:
            LMError: If it is all too long for the model, or there is nothing to judge.
        """
        return await self._counted(self._loglikelihoods, prefix, context, continuations)

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """The probability of `yes` against `no` after `prefix + context + item`, for each item.

        Raises:
            LMError: If it is all too long for the model, or `yes` and `no` begin with the same token.
        """
        return await self._counted(self._probabilities, prefix, context, items, yes, no)

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, none added."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def write(self, prompt: str, writing: Writing, max_tokens: int) -> tuple[bool, Usage]:
        """Lets the model write after a prompt, always its likeliest token.

        Returns:
            Whether the answer came to its end within `max_tokens`, and what it cost.
        """
        import torch

        ids = self.tokens(prompt + writing.opening)
        self._check(len(ids) + max_tokens)
        with self._lock, torch.inference_mode():
            started = time.monotonic()
            cache, cached, rest = self._read(ids)
            step, new, whole = rest, 0, False
            while new < max_tokens:
                logits = self._forward(step, cache).logits[0, -1]
                allowed = writing.allowed()
                token = int(logits.argmax()) if allowed is None else allowed[int(logits[allowed].argmax())]
                new += 1
                step = [] if token in self._ends else writing.write(token)
                if not step:
                    whole = True
                    break
            self._kept.put(ids, cache)
            seconds = time.monotonic() - started
        usage = Usage(
            calls=1, prompt_tokens=len(ids), cached_tokens=cached, new_tokens=new, seconds=seconds
        )
        return whole, usage

    async def _counted(self, work: Any, *arguments: Any) -> list[float]:
        values, usage = await asyncio.to_thread(work, *arguments)
        # Not in the thread, where meters that are shared would be written to by several at once.
        count(usage)
        answer: list[float] = values
        return answer

    def _loglikelihoods(
        self, prefix: str, context: str, continuations: Sequence[str]
    ) -> tuple[list[float], Usage]:
        targets = [self.tokens(text) for text in continuations]
        if not all(targets):
            raise LMError("bad_request", "an empty continuation has no likelihood", "drop it")
        # A continuation's last token is only predicted, never read.
        logits, usage = self._branches(prefix, context, [ids[:-1] for ids in targets], targets)
        return [float(values.mean()) for values in logits], usage

    def _probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> tuple[list[float], Usage]:
        pair = [ids[0] for text in (yes, no) if (ids := self.tokens(text))]
        if len(set(pair)) != 2:
            raise LMError("bad_request", f'"{yes}" and "{no}" do not differ in their first token', "change one")
        branches = [self.tokens(text) for text in items]
        logits, usage = self._branches(prefix, context, branches, [pair] * len(items), last=True)
        return [float(values.softmax(-1)[0]) for values in logits], usage

    def _branches(
        self,
        prefix: str,
        context: str,
        branches: Sequence[list[int]],
        targets: Sequence[list[int]],
        last: bool = False,
    ) -> tuple[list[torch.Tensor], Usage]:
        """Reads branches that all follow `prefix + context` and cannot see each other.

        Returns:
            For each branch the log-probabilities of its targets: one after each of its tokens, the
            context's last one before them, or with `last` all of them after its last token.
        """
        import torch

        if not branches:
            return [], Usage()
        ids = self.tokens(prefix + context)
        if not ids:
            raise LMError("bad_request", "there is no text to judge after", "give a prefix or a context")
        self._check(len(ids) + max(len(branch) for branch in branches))
        with self._lock, torch.inference_mode():
            started = time.monotonic()
            cache, cached, rest = self._read(ids)
            answers: list[torch.Tensor] = []
            first: torch.Tensor | None = None
            for start, end in _packs([len(branch) for branch in branches], len(rest)):
                pack = branches[start:end]
                logits = self._forward_tree(rest, pack, cache, len(ids), first is None)
                first = logits[:1] if first is None else first
                rows = logits[-sum(map(len, pack)) :] if any(pack) else logits[:0]
                for branch, wanted in zip(pack, targets[start:end], strict=True):
                    seen, rows = torch.cat([first, rows[: len(branch)]]), rows[len(branch) :]
                    seen = (seen[-1:] if last else seen).float().log_softmax(-1)
                    where = torch.tensor([wanted]) if last else torch.tensor(wanted)[:, None]
                    answers.append(seen.gather(-1, where).flatten())
                rest = []
            self._kept.put(ids[: _shared(ids, self.tokens(prefix))], cache)
            seconds = time.monotonic() - started
        tokens = len(ids) + sum(map(len, branches))
        return answers, Usage(calls=1, prompt_tokens=tokens, cached_tokens=cached, seconds=seconds)

    def _check(self, tokens: int) -> None:
        if tokens > self._context:
            message = f"{tokens:,} tokens, and {self.name} reads {self._context:,}"
            raise LMError("too_long", message, "shorten the text, or use a model with a longer context")

    def _read(self, ids: list[int]) -> tuple[Any, int, list[int]]:
        """Reads all but the last tokens: the cache, how many were kept from earlier, the tokens still to read."""
        cache, cached = self._kept.get(ids)
        done = cached
        while len(ids) - done > _FORWARD_TOKENS:
            self._forward(ids[done : done + _FORWARD_TOKENS], cache)
            done += _FORWARD_TOKENS
        return cache, cached, ids[done:]

    def _forward(self, ids: list[int], cache: Any, **more: Any) -> Any:
        import torch

        keep = more.pop("logits_to_keep", 1)
        tokens = torch.tensor([ids])
        return self._model(tokens, past_key_values=cache, use_cache=True, logits_to_keep=keep, **more)

    def _forward_tree(
        self, rest: list[int], branches: Sequence[list[int]], cache: Any, length: int, need_root: bool
    ) -> torch.Tensor:
        """Reads the rest of the context and the branches after it, side by side, in one pass.

        Returns:
            Logits after the context's last token if it is in this pass, then after each branch's tokens.
        """
        import torch

        sequence = [*rest, *(token for branch in branches for token in branch)]
        size, known = len(sequence), cache.get_seq_length()
        owner = torch.tensor([-1] * len(rest) + [k for k, branch in enumerate(branches) for _ in branch])
        place = torch.arange(known, known + len(rest)).tolist()
        place += [length + i for branch in branches for i in range(len(branch))]
        order = torch.arange(size)
        seen = (order[None] <= order[:, None]) & ((owner[None] == -1) | (owner[None] == owner[:, None]))
        seen = torch.cat([torch.ones(size, known, dtype=torch.bool), seen], 1)
        lowest = torch.finfo(self._model.dtype).min
        mask = torch.zeros(1, 1, size, known + size, dtype=self._model.dtype).masked_fill(~seen, lowest)
        keep = order[max(0, len(rest) - 1) if need_root else len(rest) :]
        answer = self._forward(
            sequence,
            cache,
            attention_mask=mask,
            position_ids=torch.tensor([place]),
            logits_to_keep=keep,
        )
        cache.crop(-(size - len(rest)))
        logits: torch.Tensor = answer.logits[0]
        return logits
