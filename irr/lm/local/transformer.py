"""A transformers model with a prefix cache: tokens in, log-probabilities or tokens out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from irr.errors import IrrError, LMError
from irr.lm.local.prefix_cache import PrefixCache
from irr.types import Usage

if TYPE_CHECKING:
    import torch

# Tokens of one forward pass; with a vocabulary of 150,000 their logits take 300 MB.
_FORWARD_TOKENS = 512

# Questions about a branch: pairs of (tokens of it that were read, the next token).
Wanted = Sequence[tuple[int, int]]


class Writing(Protocol):
    """An answer that is decoded token by token."""

    def allowed(self) -> list[int] | None:
        """The tokens that may come next; None for any."""
        ...

    def write(self, token: int) -> list[int]:
        """Takes the model's token; returns the tokens to read next, none when the answer is complete."""
        ...


class Transformer:
    """A causal language model on the CPU, in float32, which serves one thread at a time.

    Raises:
        IrrError: If not every layer of the model attends to the whole text.
    """

    def __init__(self, name: str, tokenizer: Any, model: Any) -> None:
        self.tokenizer = tokenizer
        self._name = name
        self.model = model
        config = model.config
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"} or not getattr(config, "max_position_embeddings", None):
            problem = f"{name} cannot be used in process: not every layer reads the whole text"
            raise IrrError(problem, "serve it instead, for example with vLLM")
        self.context: int = config.max_position_embeddings
        ends = model.generation_config.eos_token_id
        self._ends = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
        self._kept = PrefixCache()
        self._lock = threading.Lock()

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, without special tokens."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def judge(
        self, ids: list[int], keep: int, branches: Sequence[list[int]], wanted: Sequence[Wanted]
    ) -> tuple[list[list[float]], Usage]:
        """The log-probabilities of tokens in branches that each follow the same prompt.

        Args:
            ids: The prompt, at least one token.
            keep: The number of its first tokens to keep in the cache.
            branches: Possible continuations.
            wanted: The questions about each branch, in reading order.

        Returns:
            The log-probabilities asked for, by branch, and the cost of the call.

        Raises:
            LMError: If the prompt with the longest branch exceeds the context.
        """
        import torch

        self._check(len(ids) + max(map(len, branches)))
        with self._lock, torch.inference_mode():
            started = time.monotonic()
            cache, cached, rest = self._read(ids)
            values: list[list[float]] = []
            after_prompt: torch.Tensor | None = None
            for start, end in _packs([len(rest), *map(len, branches)]):
                pack, asked = branches[start:end], wanted[start:end]
                if after_prompt is not None and len(pack[0]) > _FORWARD_TOKENS:
                    own = self._read_alone(pack[0], cache, asked[0])
                    values.append([*_chosen(after_prompt, 0, asked[0]), *own])
                    continue
                logits = self._read_beside(rest, pack, cache, len(ids))
                if after_prompt is None:
                    after_prompt, logits, rest = logits[:1], logits[1:], []
                for branch, pairs in zip(pack, asked, strict=True):
                    own = _chosen(logits[: len(branch)], 1, pairs)
                    values.append([*_chosen(after_prompt, 0, pairs), *own])
                    logits = logits[len(branch) :]
            self._kept.put(ids[:keep], cache)
            seconds = time.monotonic() - started
        tokens = len(ids) + sum(map(len, branches))
        return values, Usage(calls=1, prompt_tokens=tokens, cached_tokens=cached, seconds=seconds)

    def write(self, ids: list[int], writing: Writing, max_tokens: int) -> tuple[bool, Usage]:
        """Continues a prompt by greedy decoding.

        Returns:
            Whether the answer was complete within `max_tokens`, and the cost of the call.

        Raises:
            LMError: If the prompt with `max_tokens` exceeds the context.
        """
        import torch

        self._check(len(ids) + max_tokens)
        with self._lock, torch.inference_mode():
            started = time.monotonic()
            cache, cached, step = self._read(ids)
            written, whole = 0, False
            while not whole and written < max_tokens:
                logits = self._forward(step, cache)[-1]
                allowed = writing.allowed()
                token = int(logits.argmax()) if allowed is None else allowed[int(logits[allowed].argmax())]
                step = [] if token in self._ends else writing.write(token)
                written += max(1, len(step))
                whole = not step
            self._kept.put(ids, cache)
            seconds = time.monotonic() - started
        return whole, Usage(
            calls=1, prompt_tokens=len(ids), cached_tokens=cached, completion_tokens=written, seconds=seconds
        )

    def _check(self, tokens: int) -> None:
        if tokens > self.context:
            message = f"{tokens:,} tokens, and {self._name} reads {self.context:,}"
            raise LMError("too_long", message, "shorten the text, or use a model with a longer context")

    def _read(self, ids: list[int]) -> tuple[Any, int, list[int]]:
        """Reads most of a prompt.

        Returns:
            The cache, the number of its tokens from earlier calls, and the tokens still to read.
        """
        cache, cached = self._kept.get(ids)
        done = cached
        while len(ids) - done > _FORWARD_TOKENS:
            self._forward(ids[done : done + _FORWARD_TOKENS], cache)
            done += _FORWARD_TOKENS
        return cache, cached, ids[done:]

    def _read_beside(
        self, rest: list[int], branches: Sequence[list[int]], cache: Any, length: int
    ) -> torch.Tensor:
        """Reads the rest of a prompt and its branches in one pass, then drops the branches.

        Returns:
            Logits after the prompt's last token, if it is among the rest, then after each branch token.
        """
        import torch

        ids = [*rest, *(token for branch in branches for token in branch)]
        size, known = len(ids), length - len(rest)
        if not size:
            return torch.empty(0, self.model.config.vocab_size)
        owner = torch.tensor([-1] * len(rest) + [k for k, branch in enumerate(branches) for _ in branch])
        positions = [*range(known, length), *(length + i for branch in branches for i in range(len(branch)))]
        order = torch.arange(size)
        seen = (order <= order[:, None]) & ((owner == -1) | (owner == owner[:, None]))
        seen = torch.cat([torch.ones(size, known, dtype=torch.bool), seen], 1)
        mask = torch.zeros(1, 1, size, known + size).masked_fill(~seen, torch.finfo(torch.float32).min)
        logits = self._forward(
            ids,
            cache,
            attention_mask=mask,
            position_ids=torch.tensor([positions]),
            logits_to_keep=order[max(0, len(rest) - 1) :],
        )
        if surplus := size - len(rest):  # crop(0) empties the cache in older releases
            cache.crop(-surplus)
        return logits

    def _read_alone(self, branch: list[int], cache: Any, wanted: Wanted) -> list[float]:
        """Reads one long branch in parts, then drops it."""
        values = []
        for start in range(0, len(branch), _FORWARD_TOKENS):
            logits = self._forward(branch[start : start + _FORWARD_TOKENS], cache, logits_to_keep=0)
            values += _chosen(logits, start + 1, wanted)
        cache.crop(-len(branch))
        return values

    def _forward(self, ids: list[int], cache: Any, logits_to_keep: Any = 1, **more: Any) -> torch.Tensor:
        import torch

        answer = self.model(
            torch.tensor([ids]), cache=cache, use_cache=True, logits_to_keep=logits_to_keep, **more
        )
        logits: torch.Tensor = answer.logits[0]
        return logits


def _packs(lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of branches to read in one pass; the first length is the rest of the prompt."""
    start, total = 0, lengths[0]
    for place, length in enumerate(lengths[1:]):
        if (place > start or total) and total + length > _FORWARD_TOKENS:
            yield start, place
            start, total = place, 0
        total += length
    yield start, len(lengths) - 1


def _chosen(logits: torch.Tensor, first: int, wanted: Wanted) -> list[float]:
    """The log-probabilities asked of these rows, which are numbered from `first`."""
    asked = [(row - first, token) for row, token in wanted if first <= row < first + len(logits)]
    if not asked:
        return []
    rows, tokens = (list(part) for part in zip(*asked, strict=True))
    values: list[float] = (logits[rows, tokens] - logits.logsumexp(-1)[rows]).tolist()
    return values
