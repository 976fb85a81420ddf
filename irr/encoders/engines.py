"""The engines of an encoder: torch, and ONNX, exported at first use, checked and kept in a cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import ContextVectors, Places, batches, blocks, place_vectors
from irr.errors import EncoderError
from irr.hub import cache_folder, file_stamp, load_pretrained, prepare_environment

_PACKAGES = ("onnx", "onnxruntime", "onnxscript", "tokenizers")
# The version of the exported files.
_FORMAT = 1
# The files of an export.
_GRAPH = "model.onnx"
_TOKENIZER = "tokenizer.json"
_ABOUT = "engine.json"
# Outputs of the graph: a vector for each text, and a state for each token if both have the same dimensions.
_VECTORS = "vectors"
_STATES = "states"
# The largest difference of a vector's component that rounding explains.
_TOLERANCE = 1e-5
# The first version with GELU as one operator.
_OPSET = 20
# Words of each text of the comparison, and the number of such texts.
_LENGTHS = {1: 40, 2: 60, 4: 60, 8: 40, 40: 16, 600: 4}
_ODD = (
    "",
    "  Two spaces, and a line\nbreak ",
    "C++, C#; A/B tests (R&D) – 50 % of €3,000",
    "Überprüfung der Röntgengeräte",
    "наблюдение за больными",
    "面包烘焙",
    "ÉLÈVE ﬁnance \u200b🙂 naïve café",
)
# The file of a model that has no fast engine, with the reason.
_REFUSED = "refused.txt"
# Joined operators that take longer than their parts: with them, a token takes 1.1 times as long.
_SLOW_FUSIONS = ["SkipLayerNormFusion", "BiasGeluFusion"]

logger = logging.getLogger(__name__)


class TorchEngine:
    """Encodes with torch; `module` is the loaded `SentenceTransformer`."""

    def __init__(self, name: str, folder: Path | None = None, device: str | None = None) -> None:
        prepare_environment()
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        def read(place: str, only_local: bool) -> SentenceTransformer:
            return SentenceTransformer(place, device=device, local_files_only=only_local)

        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.module = load_pretrained(name, read, "encoder", EncoderError, folder)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions), float32."""
        vectors = np.empty((len(texts), self.module.get_embedding_dimension() or 0), np.float32)
        limit = self.module.max_seq_length
        encoded = (self.module.tokenizer(block, truncation=True, max_length=limit) for block in blocks(texts))
        lengths = [len(ids) for block in encoded for ids in block["input_ids"]]
        # Batches without padding take 0.7 times as long as those of sentence-transformers.
        for positions in batches(lengths):
            vectors[positions] = self.module.encode(
                [texts[i] for i in positions],
                batch_size=len(positions),
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        return vectors

    @property
    def gives_states(self) -> bool:
        """Whether the states of tokens have the dimensions of the vectors, and their offsets are known."""
        states = getattr(self.module[0], "get_embedding_dimension", lambda: None)()
        return bool(states == self.module.get_embedding_dimension() and self.module.tokenizer.is_fast)

    def encode_places(self, texts: Sequence[str], places: Sequence[Places]) -> ContextVectors | None:
        """Returns the vectors of texts and places; None if the model's token states do not fit."""
        if not self.gives_states:
            return None
        offsets = self.module.tokenizer(
            list(texts), truncation=True, max_length=self.module.max_seq_length, return_offsets_mapping=True
        )["offset_mapping"]
        states = self.module.encode(list(texts), output_value="token_embeddings", show_progress_bar=False)
        found = [
            place_vectors(of_text.float().cpu().numpy(), np.array(of_tokens), of_places)
            for of_text, of_tokens, of_places in zip(states, offsets, places, strict=True)
        ]
        return ContextVectors(self.encode(texts), found)


class OnnxEngine:
    """Runs the export in a folder with onnxruntime and tokenizers, which start fast; threads may share it."""

    def __init__(self, folder: Path) -> None:
        prepare_environment()
        import onnxruntime
        from tokenizers import Tokenizer

        about = json.loads((folder / _ABOUT).read_text("utf-8"))
        self._dimensions = int(about["dimensions"])
        self._tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(int(about["tokens"]))
        options = onnxruntime.SessionOptions()
        # Threads that spin while they wait halve the speed of a shared machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        if hasattr(os, "sched_getaffinity"):  # a container may own fewer cores than the machine has
            options.intra_op_num_threads = len(os.sched_getaffinity(0))
        self._session = onnxruntime.InferenceSession(
            str(folder / _GRAPH),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=_SLOW_FUSIONS,
        )
        self._gives_states = _STATES in {output.name for output in self._session.get_outputs()}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions), float32."""
        vectors = np.empty((len(texts), self._dimensions), np.float32)
        rest = vectors
        for block in blocks(texts):
            ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(block)]
            for positions in batches([len(of_text) for of_text in ids]):
                tokens = np.array([ids[i] for i in positions], np.int64)
                (rest[positions],) = self._session.run([_VECTORS], {"input_ids": tokens})
            rest = rest[len(block) :]
        return vectors

    def encode_places(self, texts: Sequence[str], places: Sequence[Places]) -> ContextVectors | None:
        """Returns the vectors of texts and places; None without states of tokens."""
        if not self._gives_states:
            return None
        encodings = self._tokenizer.encode_batch(list(texts))
        vectors = np.empty((len(texts), self._dimensions), np.float32)
        found: list[NDArray[np.float32]] = [vectors[:0]] * len(texts)
        for positions in batches([len(encoding.ids) for encoding in encodings]):
            tokens = np.array([encodings[i].ids for i in positions], np.int64)
            vectors[positions], states = self._session.run([_VECTORS, _STATES], {"input_ids": tokens})
            for i, of_text in zip(positions, states, strict=True):
                found[i] = place_vectors(of_text, np.array(encodings[i].offsets), places[i])
        return ContextVectors(vectors, found)


# The engines in use, by folder and state of the graph: the programs of a process share them.
_OPEN: WeakValueDictionary[tuple[Path, tuple[int, int, int]], OnnxEngine] = WeakValueDictionary()


def open_fast(
    name: str, folder: Path, revision: str, open_model: Callable[[], TorchEngine]
) -> OnnxEngine | None:
    """The fast engine of the model in a folder, made at first use; None if the model has none."""
    from filelock import FileLock

    if not all(map(find_spec, _PACKAGES)):
        if open_model().module.device.type == "cpu":
            _recommend_packages()
        return None
    path = cache_folder("encoders") / _key(folder, revision)
    if engine := _read(path):
        return engine
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not (engine := _read(path)) and not (path / _REFUSED).exists():
                engine = _make(path, name, open_model())
            return engine
    except (OSError, ImportError) as e:
        logger.warning("encoder %s runs slowly: its fast engine cannot be made (%s)", name, e)
        return None


@cache  # once in a process
def _recommend_packages() -> None:
    logger.warning("torch encodes the texts: pip install 'irr[fast]' makes that about twice as fast")


def _make(path: Path, name: str, model: TorchEngine) -> OnnxEngine | None:
    """Exports and checks beside `path`, then moves the engine, or the reason for none, there."""
    if model.module.device.type != "cpu":
        return None
    logger.warning("encoder %s: making its fast engine, once (some 20 seconds)", name)
    # This process holds the lock, so a folder that is there is the rest of an interrupted run.
    beside = path.with_suffix(".building")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        _export(model, beside)
        found = _difference(model, OnnxEngine(beside).encode)
        problem = "" if found <= _TOLERANCE else f"its vectors differ by {found:.1g}"
    except (OSError, ImportError):
        shutil.rmtree(beside, ignore_errors=True)
        raise
    except Exception as e:  # torch raises all kinds of errors for a model that it cannot export
        problem = f"it cannot be exported: {(str(e) or type(e).__name__).splitlines()[0]}"
    if problem:
        logger.warning("encoder %s has no fast engine (%s)", name, problem)
        shutil.rmtree(beside)
        beside.mkdir()
        (beside / _REFUSED).write_text(problem + "\n", "utf-8")
    shutil.rmtree(path, ignore_errors=True)
    beside.rename(path)
    return _read(path)


def _read(path: Path) -> OnnxEngine | None:
    if not path.is_dir() or (path / _REFUSED).exists():
        return None
    try:
        key = (path, file_stamp(path / _GRAPH))
        engine = _OPEN.get(key) or OnnxEngine(path)
        return _OPEN.setdefault(key, engine)
    except Exception:  # the libraries raise all kinds of errors for a damaged file
        logger.warning("the fast engine in %s is damaged: making it again", path)
        return None


def _key(folder: Path, revision: str) -> str:
    """A hash of the model's weights and configuration, which identifies its engine."""
    digest = hashlib.sha256(f"onnx {_FORMAT} {revision}".encode())
    for file in sorted([*folder.glob("*.json"), *folder.glob("*/*.json")]):
        digest.update(f"\n{file.relative_to(folder).as_posix()}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def _export(engine: TorchEngine, folder: Path) -> None:
    """Writes the model's tokenizer and its graph, which pools and normalizes, and gives token states, too."""
    import torch
    from torch.nn.functional import normalize

    transformer, states = engine.module, engine.gives_states

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
            first, *others = self.transformer
            # Without a mask, because no batch holds padding.
            features = first({"input_ids": input_ids}) | {"attention_mask": torch.ones_like(input_ids)}
            for module in others:
                if getattr(module, "pooling_mode", None) == "mean":
                    # A product, because a sum has another order of additions for a batch of one.
                    tokens = features["token_embeddings"]
                    ones = torch.ones_like(input_ids, dtype=tokens.dtype).unsqueeze(1)
                    features["sentence_embedding"] = torch.bmm(ones, tokens).squeeze(1) / tokens.shape[1]
                else:
                    features = module(features)
            vectors = normalize(features["sentence_embedding"], dim=1)
            return (vectors, features["token_embeddings"]) if states else (vectors,)

    sample = torch.arange(3 * 7).reshape(3, 7)
    sizes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    network: Any = transformer[0].model
    attention = network.config._attn_implementation
    network.set_attn_implementation("eager")  # of products that onnxruntime joins with transpositions
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Graph().eval(),
                (sample,),
                folder / _GRAPH,
                dynamo=True,
                input_names=["input_ids"],
                output_names=[_VECTORS, _STATES] if states else [_VECTORS],
                dynamic_shapes=(sizes,),
                opset_version=_OPSET,
                external_data=False,
                verbose=False,
            )
    finally:
        log.setLevel(level)
        network.set_attn_implementation(attention)
    transformer.tokenizer.backend_tokenizer.save(str(folder / _TOKENIZER))
    about = {"dimensions": transformer.get_embedding_dimension(), "tokens": transformer.max_seq_length}
    (folder / _ABOUT).write_text(json.dumps(about), "utf-8")


def _difference(engine: TorchEngine, encode: Callable[[Sequence[str]], NDArray[np.float32]]) -> float:
    """The largest difference of a component of two encoders, over texts of all lengths and scripts."""
    words = sorted(engine.module.tokenizer.get_vocab())
    chance = random.Random(0)
    lengths = [length for length, count in _LENGTHS.items() for _ in range(count)]
    texts = [" ".join(chance.choices(words, k=length)).replace(" ##", "") for length in lengths]
    texts += _ODD
    return float(np.abs(engine.encode(texts) - encode(texts)).max())
