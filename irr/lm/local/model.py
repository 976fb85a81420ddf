"""A language model in this process: chat and probabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from math import exp
from typing import Any

from irr.errors import IrrError, LMError
from irr.hub import load_pretrained, prepare_environment, weights_revision
from irr.lm.base import Capabilities, ChatRequest
from irr.lm.local.chat import answer
from irr.lm.local.prefix_cache import shared
from irr.lm.local.smollm import ALIAS, packaged_folder
from irr.lm.local.transformer import Transformer, Wanted
from irr.lm.openai.limits import Limits
from irr.lm.usage import count


class EmbeddedModel:
    """A transformers model on the CPU, in float32, which serves one call at a time.

    Args:
        name: `embedded` for SmolLM2-135M-Instruct, or a model's folder or name on the hub.
        threads: Threads of torch in this process; None leaves that to torch.

    Raises:
        MissingExtraError: If the embedded model's package is not installed.
        IrrError: If the model is neither here nor on the hub, or cannot be used in process.
    """

    capabilities = Capabilities(writes_instructions=False, local=True)

    def __init__(self, name: str = ALIAS, threads: int | None = None) -> None:
        self.name = name
        self.concurrency = 1
        if name != ALIAS:
            self.capabilities = Capabilities(local=True)
        self.transformer = Transformer(name, *_load(name))
        if threads:
            import torch

            torch.set_num_threads(threads)

    @classmethod
    def open(cls, name: str, _api_base: str | None, _limits: Limits | None) -> EmbeddedModel:
        """The model of that name; the default one if it is empty."""
        return cls(name or ALIAS)

    @cached_property
    def revision(self) -> str:
        """The hash of its weights."""
        return weights_revision(self.transformer.model)

    async def chat(self, request: ChatRequest) -> str:
        """Answers in words by greedy decoding; with a schema, in JSON of one bounded list.

        Raises:
            LMError: If the model gives no usable answer.
        """
        return await answer(self.transformer, request)

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """The probability of `yes` against `no` after `prefix + context + item`, for each item.

        Only the first tokens of `yes` and `no` count.

        Raises:
            LMError: If it is too long for the model, or `yes` and `no` begin with the same token.
        """
        tokens = self.transformer.tokens
        pair = [ids[0] for answer in (yes, no) if (ids := tokens(answer))]
        if len(set(pair)) != 2:
            raise LMError(
                "bad_request", f'"{yes}" and "{no}" begin with the same token', "change one of them"
            )
        branches = [tokens(item) for item in items]
        wanted = [[(len(branch), token) for token in pair] for branch in branches]
        values = await self._judge(prefix, context, branches, wanted)
        return [1 / (1 + exp(min(against - for_it, 700.0))) for for_it, against in values]

    async def _judge(
        self, prefix: str, context: str, branches: Sequence[list[int]], wanted: Sequence[Wanted]
    ) -> list[list[float]]:
        if not branches:
            return []
        ids = self.transformer.tokens(prefix + context)
        if not ids:
            raise LMError("bad_request", "the prompt is empty", "give a prefix or a context")
        keep = shared(ids, self.transformer.tokens(prefix))
        values, usage = await asyncio.to_thread(self.transformer.judge, ids, keep, branches, wanted)
        # Counted here, because threads would write to a shared meter.
        count(usage)
        return values


def _load(name: str) -> tuple[Any, Any]:
    prepare_environment()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    def read(place: str, only_local: bool) -> tuple[Any, Any]:
        options: dict[str, Any] = {"local_files_only": only_local}
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
        model: Any = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **options)
        model.eval()
        return tokenizer, model

    return load_pretrained(name, read, "language model", IrrError, packaged_folder(name))
