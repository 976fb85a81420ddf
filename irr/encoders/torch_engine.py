"""The engine that runs a sentence-transformers model with torch, and the model's export to ONNX."""

from __future__ import annotations

import json
import logging
import random
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import TOKENIZED_TEXTS, ContextVectors, Places, batches, place_vectors
from irr.errors import EncoderError
from irr.hub import load_pretrained, prepare_environment

# The files of an export.
GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"
ABOUT = "engine.json"
# Outputs of the graph: a vector for each text, and a state for each token if both have the same dimensions.
VECTORS = "vectors"
STATES = "states"
# The largest difference of a vector's component that rounding explains.
TOLERANCE = 1e-5
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


class TorchEngine:
    """Loads a model and encodes with it; takes the arguments of `SentenceEncoder`, and the model's folder.

    Attributes:
        module: The loaded `SentenceTransformer`.
    """

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
        # Batches without padding take 0.7 times as long as those of sentence-transformers.
        for positions in batches(self._lengths(texts)):
            vectors[positions] = self.module.encode(
                [texts[i] for i in positions],
                batch_size=len(positions),
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        return vectors

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text within the model's window."""
        limit = self.module.max_seq_length
        blocks = (list(texts[i : i + TOKENIZED_TEXTS]) for i in range(0, len(texts), TOKENIZED_TEXTS))
        encoded = (self.module.tokenizer(block, truncation=True, max_length=limit) for block in blocks)
        return [len(ids) for block in encoded for ids in block["input_ids"]]

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


def export(engine: TorchEngine, folder: Path) -> None:
    """Writes the model's tokenizer and its graph, which pools and normalizes, and gives token states, too.

    Raises:
        Exception: If torch cannot export the model.
    """
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
                folder / GRAPH,
                dynamo=True,
                input_names=["input_ids"],
                output_names=[VECTORS, STATES] if states else [VECTORS],
                dynamic_shapes=(sizes,),
                opset_version=_OPSET,
                external_data=False,
                verbose=False,
            )
    finally:
        log.setLevel(level)
        network.set_attn_implementation(attention)
    transformer.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
    about = {"dimensions": transformer.get_embedding_dimension(), "tokens": transformer.max_seq_length}
    (folder / ABOUT).write_text(json.dumps(about), "utf-8")


def difference(engine: TorchEngine, encode: Callable[[Sequence[str]], NDArray[np.float32]]) -> float:
    """The largest difference of a component of two encoders, over texts of all lengths and scripts."""
    words = sorted(engine.module.tokenizer.get_vocab())
    chance = random.Random(0)
    lengths = [length for length, count in _LENGTHS.items() for _ in range(count)]
    texts = [" ".join(chance.choices(words, k=length)).replace(" ##", "") for length in lengths]
    texts += _ODD
    return float(np.abs(engine.encode(texts) - encode(texts)).max())
