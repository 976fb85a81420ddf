"""An exported encoder, which onnxruntime and tokenizers run; both start fast."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import InContext, Places, batches
from irr.encoders.places import in_context
from irr.hub import prepare_environment

GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"
ABOUT = "engine.json"
# What the graph gives: a vector a text, and a state a token if it has the dimensions of a vector.
VECTORS = "vectors"
STATES = "states"
# Texts tokenized at a time; the token ids of a whole label space would take hundreds of megabytes.
_BLOCK = 2_048
# Joined operators that take longer than their parts: with them, a token takes 1.1 times as long.
_SLOW_FUSIONS = ["SkipLayerNormFusion", "BiasGeluFusion"]
# Sessions of the parent process, kept because closing one in a forked child waits for the parent's threads.
_INHERITED: list[Any] = []


class OnnxModel:
    """An encoder that `export` wrote; several threads may share it.

    Args:
        folder: The folder of the graph, the tokenizer, and their description.

    Raises:
        Exception: If the folder is damaged.
    """

    def __init__(self, folder: Path) -> None:
        prepare_environment()
        from tokenizers import Tokenizer

        about = json.loads((folder / ABOUT).read_text("utf-8"))
        self._dimensions = int(about["dimensions"])
        self._graph = folder / GRAPH
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(int(about["tokens"]))
        self._open()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions), float32."""
        self._reopen_in_fork()
        vectors = np.empty((len(texts), self._dimensions), np.float32)
        for start in range(0, len(texts), _BLOCK):
            block = list(texts[start : start + _BLOCK])
            ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(block)]
            for positions in batches([len(of_text) for of_text in ids]):
                tokens = np.array([ids[i] for i in positions], np.int64)
                (found,) = self._session.run([VECTORS], {"input_ids": tokens})
                vectors[[start + i for i in positions]] = found
        return vectors

    def encode_places(self, texts: Sequence[str], places: Sequence[Places]) -> InContext | None:
        """Returns the vectors of texts and of places in them; None if the graph gives no states of tokens."""
        if not self._gives_states:
            return None
        self._reopen_in_fork()
        encodings = self._tokenizer.encode_batch(list(texts))
        vectors = np.empty((len(texts), self._dimensions), np.float32)
        found: list[NDArray[np.float32]] = [vectors[:0]] * len(texts)
        for positions in batches([len(encoding.ids) for encoding in encodings]):
            tokens = np.array([encodings[i].ids for i in positions], np.int64)
            vectors[positions], states = self._session.run([VECTORS, STATES], {"input_ids": tokens})
            for i, of_text in zip(positions, states, strict=True):
                found[i] = in_context(of_text, np.array(encodings[i].offsets), places[i])
        return InContext(vectors, found)

    def _reopen_in_fork(self) -> None:
        if os.getpid() != self._process:
            _INHERITED.append(self._session)
            self._open()

    def _open(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Threads that spin while they wait halve the speed of a shared machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        if hasattr(os, "sched_getaffinity"):  # a container may own fewer cores than the machine has
            options.intra_op_num_threads = len(os.sched_getaffinity(0))
        self._session = onnxruntime.InferenceSession(
            str(self._graph),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=_SLOW_FUSIONS,
        )
        self._gives_states = STATES in {output.name for output in self._session.get_outputs()}
        self._process = os.getpid()
