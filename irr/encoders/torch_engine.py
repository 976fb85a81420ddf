"""The engine that runs a sentence-transformers model with torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import TOKENIZED_TEXTS, ContextVectors, Places, batches, place_vectors
from irr.errors import EncoderError
from irr.hub import load_pretrained, prepare_environment


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
