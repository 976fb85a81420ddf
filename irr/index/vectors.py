"""Keeps the vector of every text that was encoded, by the text's content, in Chroma."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import Encoder
from irr.errors import LabelIndexError
from irr.text.strings import printable

Floats = NDArray[np.float32]
Progress = Callable[[int, int], None]

# Texts encoded and stored at a time; below Chroma's limit of 5,461 a call.
_BLOCK = 4_096
# Vectors are looked up by key alone, so their graph is the cheapest that Chroma can build.
_CHEAPEST = {"space": "ip", "ef_construction": 2, "max_neighbors": 2}


class DamagedStoreError(LabelIndexError):
    """Chroma's files of the vectors are damaged, as a kill can leave them."""


def key_of(text: str) -> str:
    """The key of a text, a hash of its content."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class VectorStore:
    """Encodes texts whose vectors it does not hold yet, block by block, and keeps their vectors.

    A kill loses at most the block under way.

    Args:
        place: The folder of a Chroma database, or the URL of a Chroma server.
        collection: The collection's name; one for each encoder.
    """

    def __init__(self, place: Path | str, collection: str) -> None:
        self._place = place
        with self._named("opened"):
            self._client = open_chroma(place)
            self._entries = self._client.get_or_create_collection(
                collection, embedding_function=None, configuration={"hnsw": _CHEAPEST}
            )

    def __enter__(self) -> VectorStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close_chroma(self._client)

    def vectors(self, texts: Sequence[str], encoder: Encoder, progress: Progress | None = None) -> Floats:
        """The vectors of distinct texts, shape (texts, dimensions), in their order.

        Raises:
            DamagedStoreError: If a kill left Chroma's files damaged.
            LabelIndexError: If Chroma cannot be read or written.
        """
        keys = [key_of(text) for text in texts]
        vectors = np.empty((0, 0), np.float32)
        for start in range(0, len(texts), _BLOCK):
            end = min(start + _BLOCK, len(texts))
            block, encoded = self._block(keys[start:end], texts[start:end], encoder)
            if not len(vectors):
                vectors = np.empty((len(texts), block.shape[1]), np.float32)
            vectors[start:end] = block
            if progress and encoded:
                progress(end, len(texts))
        return vectors

    def _block(self, keys: Sequence[str], texts: Sequence[str], encoder: Encoder) -> tuple[Floats, bool]:
        """The vectors of a block, and whether any had to be encoded."""
        with self._named("read"):
            found = self._entries.get(ids=list(keys), include=["embeddings"])
        row_of = {key: row for row, key in enumerate(found["ids"])}
        new = [i for i, key in enumerate(keys) if key not in row_of]
        vectors = np.asarray(found["embeddings"], np.float32)
        if new:
            encoded = encoder.encode([texts[i] for i in new])
            with self._named("written"):
                # As metadata, because Chroma indexes every three letters of a document for search.
                self._entries.upsert(
                    ids=[keys[i] for i in new],
                    embeddings=encoded,
                    metadatas=[{"text": texts[i]} for i in new],
                )
            row_of |= {keys[i]: len(vectors) + row for row, i in enumerate(new)}
            vectors = np.concatenate([vectors, encoded]) if len(vectors) else encoded
        return vectors[[row_of[key] for key in keys]], bool(new)

    def all_keys(self) -> list[str]:
        """The keys of all texts held."""
        return list(self._entries.get(include=[])["ids"])

    def held(self, keys: Sequence[str]) -> dict[str, Floats]:
        """The vectors that are held among these keys, by key."""
        found: dict[str, Floats] = {}
        distinct = list(dict.fromkeys(keys))
        for start in range(0, len(distinct), _BLOCK):
            with self._named("read"):
                block = self._entries.get(ids=distinct[start : start + _BLOCK], include=["embeddings"])
            found |= zip(block["ids"], np.asarray(block["embeddings"], np.float32), strict=True)
        return found

    def add(self, keys: Sequence[str], vectors: Floats) -> None:
        """Adds vectors by key, without their texts."""
        for start in range(0, len(keys), _BLOCK):
            with self._named("written"):
                self._entries.upsert(
                    ids=list(keys[start : start + _BLOCK]), embeddings=vectors[start : start + _BLOCK]
                )

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes the vectors of these keys."""
        for start in range(0, len(keys), _BLOCK):
            self._entries.delete(ids=list(keys[start : start + _BLOCK]))

    @contextmanager
    def _named(self, done: str) -> Iterator[None]:
        """Raises any exception of Chroma, as on a full disk, as a LabelIndexError."""
        try:
            yield
        except Exception as e:  # Chroma's errors have no common base
            cause: BaseException = e
            while cause.__context__:  # the first error, before Chroma's own clean-up failed
                cause = cause.__context__
            hint = "make room there, or choose another index folder"
            if isinstance(self._place, str):
                hint = "start a Chroma server there"
            problem = f"the index in {self._place} cannot be {done} ({printable(str(cause))})"
            damaged = done == "read" and isinstance(self._place, Path) and "hnsw segment" in str(cause)
            raise (DamagedStoreError if damaged else LabelIndexError)(problem, hint) from e


def open_chroma(place: Path | str) -> Any:
    """A client of the Chroma database in a folder, or of the server at a URL."""
    import chromadb
    from chromadb.api.shared_system_client import SharedSystemClient
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    if isinstance(place, Path):
        try:
            return chromadb.PersistentClient(str(place), settings=settings)
        except BaseException:
            # Chroma would return the client that failed for this folder again, though there may be room now.
            SharedSystemClient._identifier_to_system.pop(str(place), None)
            raise
    url = urlsplit(place)
    return chromadb.HttpClient(
        host=url.hostname or "", port=url.port or 8000, ssl=url.scheme == "https", settings=settings
    )


def close_chroma(client: Any) -> None:
    """Closes a client, and with it the files that Chroma holds open."""
    if hasattr(client, "close"):
        client.close()


def save_rows(path: Path, blocks: Iterable[NDArray[np.float32]], shape: tuple[int, int]) -> None:
    """Writes blocks of rows as one `.npy` file of float32, which `numpy.load` can map into memory.

    It is a stream, because writing to a memory map ends the process if the disk is full.

    Args:
        path: The file.
        blocks: Rows, each block of shape (rows, shape[1]).
        shape: The shape of all blocks together.

    Raises:
        OSError: If the file cannot be written.
    """
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for block in blocks:
            file.write(block.astype("<f4", copy=False).tobytes())
