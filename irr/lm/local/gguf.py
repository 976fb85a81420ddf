"""Reads a Llama model from a GGUF file: its configuration, and its weights by their names in transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Names of weights in transformers; `blk.N.` before a name of the file is a layer.
_WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class LlamaFile:
    """A Llama model in a GGUF file.

    transformers reads such files, too, but reads each weight twice and needs accelerate for it.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        from gguf import GGUFReader

        self._reader = GGUFReader(path)

    def config(self) -> dict[str, Any]:
        """The arguments of transformers' LlamaConfig."""
        return {
            "vocab_size": len(self._reader.fields["tokenizer.ggml.tokens"].data),
            "hidden_size": self._fact("llama.embedding_length"),
            "intermediate_size": self._fact("llama.feed_forward_length"),
            "num_hidden_layers": self._fact("llama.block_count"),
            "num_attention_heads": self._fact("llama.attention.head_count"),
            "num_key_value_heads": self._fact("llama.attention.head_count_kv"),
            "max_position_embeddings": self._fact("llama.context_length"),
            "rms_norm_eps": self._fact("llama.attention.layer_norm_rms_epsilon"),
            "rope_parameters": {"rope_type": "default", "rope_theta": self._fact("llama.rope.freq_base")},
            "bos_token_id": self._fact("tokenizer.ggml.bos_token_id"),
            "eos_token_id": self._fact("tokenizer.ggml.eos_token_id"),
            "pad_token_id": self._fact("tokenizer.ggml.padding_token_id"),
            "tie_word_embeddings": True,
        }

    def weights(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """The name and the values of each weight, read one at a time."""
        from gguf.quants import dequantize

        heads = {
            "attn_q": self._fact("llama.attention.head_count"),
            "attn_k": self._fact("llama.attention.head_count_kv"),
        }
        for tensor in self._reader.tensors:
            values: NDArray[np.float32] = dequantize(tensor.data, tensor.tensor_type)
            *layer, part, weight = tensor.name.split(".")
            if part in heads:
                # The halves of each head are interleaved in the file.
                pairs = values.reshape(heads[part], -1, 2, values.shape[-1])
                values = pairs.swapaxes(1, 2).reshape(values.shape)
            place = f"model.layers.{layer[1]}.{_LAYER[part]}" if layer else _WHOLE[part]
            yield f"{place}.{weight}", np.array(values, np.float32)

    def _fact(self, name: str) -> Any:
        return self._reader.fields[name].contents()
