"""Exports a sentence-transformers model to ONNX, and compares the vectors of both."""

from __future__ import annotations

import json
import logging
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from irr.encoders.model import Model
from irr.encoders.onnx import ABOUT, GRAPH, STATES, TOKENIZER, VECTORS, OnnxModel

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


def export(model: Model, folder: Path) -> None:
    """Writes the model's graph, with pooling and normalization inside, and its tokenizer.

    The graph gives the states of tokens too, which `encode_places` reads.

    Raises:
        Exception: If torch cannot export the model.
    """
    import torch
    from torch.nn.functional import normalize

    transformer = model.module
    states = model.gives_states

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


def difference(model: Model, exported: OnnxModel) -> float:
    """The largest difference of a component over texts of all lengths and scripts."""
    words = sorted(model.module.tokenizer.get_vocab())
    chance = random.Random(0)
    texts = [
        " ".join(chance.choices(words, k=length)).replace(" ##", "")
        for length, count in _LENGTHS.items()
        for _ in range(count)
    ]
    texts += _ODD
    return float(np.abs(model.encode(texts) - exported.encode(texts)).max())
