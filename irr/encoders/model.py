"""A sentence-transformers model that its own library runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import InContext, Places, batches
from irr.encoders.places import in_context
from irr.errors import EncoderError
from irr.hub import load_pretrained

# Texts tokenized at a time; the token ids of a whole label space would take hundreds of megabytes.
_BLOCK = 2_048


class Model:
    """Loads the model and encodes with it.

    Args:
        name: A model's name on the hub, or a folder that holds one.
        folder: The model's folder, if it is known.
        device: The name of torch's device; None lets sentence-transformers choose.

    Attributes:
        module: The loaded `SentenceTransformer`.

    Raises:
        EncoderError: If the model is neither here nor on the hub.
    """

    def __init__(self, name: str, folder: Path | None = None, device: str | None = None) -> None:
        def read(place: str, only_local: bool) -> SentenceTransformer:
            return SentenceTransformer(place, device=device, local_files_only=only_local)

        from irr.hub import prepare_environment

        prepare_environment()
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.module = load_pretrained(name, read, "encoder", EncoderError, folder)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions), float32."""
        vectors: NDArray[np.float32] | None = None
        for positions in batches(self._lengths(texts)):
            part = self.module.encode(
                [texts[i] for i in positions],
                batch_size=len(positions),
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            if vectors is None:
                vectors = np.empty((len(texts), part.shape[1]), np.float32)
            vectors[positions] = part
        if vectors is None:
            return np.empty((0, self.module.get_embedding_dimension() or 0), np.float32)
        return vectors

    @property
    def gives_states(self) -> bool:
        """Whether the states of its tokens have the dimensions of its vectors, and their places are known."""
        states = getattr(self.module[0], "get_embedding_dimension", lambda: None)()
        return bool(states == self.module.get_embedding_dimension() and self.module.tokenizer.is_fast)

    def encode_places(self, texts: Sequence[str], places: Sequence[Places]) -> InContext | None:
        """Returns the vectors of texts and of places in them; None if the states of tokens do not fit."""
        if not self.gives_states:
            return None
        read = self.module.tokenizer(
            list(texts), truncation=True, max_length=self.module.max_seq_length, return_offsets_mapping=True
        )["offset_mapping"]
        states = self.module.encode(list(texts), output_value="token_embeddings", show_progress_bar=False)
        found = [
            in_context(of_text.float().cpu().numpy(), np.array(offsets), of_places)
            for of_text, offsets, of_places in zip(states, read, places, strict=True)
        ]
        return InContext(self.encode(texts), found)

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text within the model's window."""
        limit = self.module.max_seq_length
        return [
            len(ids)
            for start in range(0, len(texts), _BLOCK)
            for ids in self.module.tokenizer(
                list(texts[start : start + _BLOCK]), truncation=True, max_length=limit
            )["input_ids"]
        ]
