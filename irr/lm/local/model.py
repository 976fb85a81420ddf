"""A language model in this process: likelihoods and probabilities, and the model as DSPy calls it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from functools import cached_property
from math import exp, fsum
from pathlib import Path
from typing import Any

from irr.config import RankMethod
from irr.errors import IrrError, LMError
from irr.hub import weights_revision
from irr.lm.base import Capabilities, ChatRequest
from irr.lm.local.chat import answer
from irr.lm.local.prefix_cache import shared
from irr.lm.local.smollm import ALIAS, packaged_folder
from irr.lm.local.transformer import Transformer, Wanted
from irr.lm.openai.limits import Limits
from irr.lm.usage import count

logger = logging.getLogger(__name__)


class EmbeddedModel:
    """A transformers model on the CPU, in float32. Threads and tasks that call it take turns.

    Args:
        name: `embedded` for SmolLM2-135M-Instruct, or a model's folder or its name on the hub.
        threads: How many threads torch uses in this process; None leaves that to torch.

    Raises:
        MissingExtraError: If the embedded model's package is not installed.
        IrrError: If there is no such model here and none can be fetched, or it cannot be used in process.
    """

    # So small a model judges better than it follows instructions.
    capabilities = Capabilities(ranks_by=RankMethod.LIKELIHOOD, writes_instructions=False, local=True)

    def __init__(self, name: str = ALIAS, threads: int | None = None) -> None:
        self.name = name
        self.concurrency = 1
        if name != ALIAS:  # of others nothing is known
            self.capabilities = Capabilities(local=True)
        self.transformer = Transformer(name, *_load(name))
        if threads:
            import torch

            torch.set_num_threads(threads)

    @classmethod
    def open(cls, name: str, _api_base: str | None, _limits: Limits | None) -> EmbeddedModel:
        """The model of a name, without the part that stands for all of its kind."""
        return cls(name or ALIAS)

    @cached_property
    def revision(self) -> str:
        """What its weights hash to."""
        return weights_revision(self.transformer.model)

    async def chat(self, request: ChatRequest) -> str:
        """Answers in words: greedy, and JSON of one bounded list where a schema asks for that.

        Raises:
            LMError: If the model gives no usable answer.
        """
        return await answer(self.transformer, request)

    async def loglikelihoods(self, prefix: str, context: str, continuations: Sequence[str]) -> list[float]:
        """The mean log-probability per token of each continuation after `prefix + context`.

        A continuation is split into tokens on its own, so it should begin where a word does.

        Raises:
            LMError: If it is too long for the model, or something that is needed is empty.
        """
        branches = [self.transformer.tokens(text) for text in continuations]
        if not all(branches):
            raise LMError("bad_request", "an empty continuation has no likelihood", "leave it out")
        wanted = [list(enumerate(branch)) for branch in branches]
        # A continuation's last token is predicted, and never read.
        values = await self._judge(prefix, context, [branch[:-1] for branch in branches], wanted)
        return [fsum(tokens) / len(tokens) for tokens in values]

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """The probability of `yes` against `no` after `prefix + context + item`, for each item.

        Of `yes` and `no` the first tokens count.

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
            raise LMError("bad_request", "there is nothing to judge after", "give a prefix or a context")
        keep = shared(ids, self.transformer.tokens(prefix))
        values, usage = await asyncio.to_thread(self.transformer.judge, ids, keep, branches, wanted)
        # Not counted in the thread: several of them would write to a meter that they share.
        count(usage)
        return values


def _load(name: str) -> tuple[Any, Any]:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that spin while they wait halve the speed of a machine that others use too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    def read(source: str | Path, local: bool = True) -> tuple[Any, Any]:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
        model: Any = AutoModelForCausalLM.from_pretrained(source, local_files_only=local, dtype=torch.float32)
        model.eval()
        return tokenizer, model

    packaged = packaged_folder(name)
    folder = packaged or Path(name).expanduser()
    if folder.is_absolute() or folder.is_dir() or name.startswith("."):
        try:
            return read(folder)
        except Exception as e:  # whatever the libraries make of a broken folder
            problem = (str(e) or type(e).__name__).splitlines()[0]
            hint = "delete that folder" if packaged else "check the path"
            raise IrrError(f"{folder} holds no language model that loads ({problem})", hint) from e
    try:
        return read(name)
    except Exception:
        logger.warning("language model %s is not on this machine: asking the model hub for it", name)
    try:
        return read(name, local=False)
    except Exception as e:
        hint = "check the name, or give the folder of a transformers model"
        raise IrrError(f'no language model "{name}" here, and the model hub gave none', hint) from e
