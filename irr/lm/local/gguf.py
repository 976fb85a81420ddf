"""Reads a Llama model from a GGUF file: its configuration, and its weights by their names in transformers."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

# The format is described at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9
_ALIGNMENT = 32
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


def read_config(path: Path) -> dict[str, Any]:
    """The arguments of transformers' LlamaConfig."""
    with path.open("rb") as file:
        facts, _ = _read_header(file)
    llama = {key.removeprefix("llama."): value for key, value in facts.items() if key.startswith("llama.")}
    tokens = {key.removeprefix("tokenizer.ggml."): value for key, value in facts.items()}
    return {
        "vocab_size": len(tokens["tokens"]),
        "hidden_size": llama["embedding_length"],
        "intermediate_size": llama["feed_forward_length"],
        "num_hidden_layers": llama["block_count"],
        "num_attention_heads": llama["attention.head_count"],
        "num_key_value_heads": llama["attention.head_count_kv"],
        "max_position_embeddings": llama["context_length"],
        "rms_norm_eps": llama["attention.layer_norm_rms_epsilon"],
        "rope_parameters": {"rope_type": "default", "rope_theta": llama["rope.freq_base"]},
        "bos_token_id": tokens["bos_token_id"],
        "eos_token_id": tokens["eos_token_id"],
        "pad_token_id": tokens["padding_token_id"],
        "tie_word_embeddings": True,
    }


def read_weights(path: Path) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The name and the values of each weight, read one at a time."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    with path.open("rb") as file:
        facts, tensors = _read_header(file)
        start = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
        count = "llama.attention.head_count"
        heads = {"attn_q": facts[count], "attn_k": facts[f"{count}_kv"]}
        for name, shape, kind, offset in tensors:
            quantization = GGMLQuantizationType(kind)
            values_a_block, bytes_a_block = GGML_QUANT_SIZES[quantization]
            row = shape[-1] // values_a_block * bytes_a_block
            file.seek(start + offset)
            packed = np.fromfile(file, np.uint8, int(np.prod(shape[:-1])) * row)
            values: NDArray[np.float32] = dequantize(packed.reshape(*shape[:-1], row), quantization)
            *layer, part, weight = name.split(".")
            if part in heads:
                # The halves of each head are interleaved in the file.
                pairs = values.reshape(heads[part], -1, 2, shape[-1])
                values = pairs.swapaxes(1, 2).reshape(shape)
            place = f"model.layers.{layer[1]}.{_LAYER[part]}" if layer else _WHOLE[part]
            yield f"{place}.{weight}", np.ascontiguousarray(values)


_Tensor = tuple[str, tuple[int, ...], int, int]


def _read_header(file: BinaryIO) -> tuple[dict[str, Any], list[_Tensor]]:
    """What the file says of the model, and the name, shape, type and place of each tensor."""
    magic, _version, tensors, facts = _read(file, "4sIQQ")
    if magic != b"GGUF":
        raise ValueError("no GGUF file")
    known = {_read_text(file): _read_value(file, *_read(file, "I")) for _ in range(facts)}
    return known, [_read_tensor(file) for _ in range(tensors)]


def _read_tensor(file: BinaryIO) -> _Tensor:
    name = _read_text(file)
    (dimensions,) = _read(file, "I")
    shape = _read(file, f"{dimensions}Q")[::-1]
    return name, shape, *_read(file, "IQ")


def _read_value(file: BinaryIO, kind: int) -> Any:
    if kind == _TEXT:
        return _read_text(file)
    if kind != _LIST:
        return _read(file, _NUMBERS[kind])[0]
    kind, count = _read(file, "IQ")
    if kind in _NUMBERS:
        return list(_read(file, f"{count}{_NUMBERS[kind]}"))
    return [_read_value(file, kind) for _ in range(count)]


def _read_text(file: BinaryIO) -> str:
    (length,) = _read(file, "Q")
    return file.read(length).decode("utf-8")


def _read(file: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))
