"""Keeps the vector of every text that was encoded, by the text's content, in Chroma."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import Encoder
from irr.errors import LabelIndexError
from irr.text.strings import printable

Floats = NDArray[np.float32]
Progress = Callable[[int, int], None]

# The folder of the database in an encoder's folder.
STORE = "chroma"
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
    """The vectors of one encoder, in a Chroma database in its folder, or on a Chroma server.

    Args:
        home: The folder of the encoder's indexes.
        server: The URL of the server; None for the database.
    """

    def __init__(self, home: Path, server: str | None = None) -> None:
        self._place = server or home / STORE
        with self._named("opened"):
            self._client = _open_chroma(self._place)
            self._entries = self._client.get_or_create_collection(
                f"irr-{home.name}", embedding_function=None, configuration={"hnsw": _CHEAPEST}
            )

    def __enter__(self) -> VectorStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def vectors(self, texts: Sequence[str], encoder: Encoder, progress: Progress | None = None) -> Floats:
        """The vectors of distinct texts, shape (texts, dimensions).

        Those that are not held are encoded and kept block by block: a kill loses at most the block under way.

        Raises:
            DamagedStoreError: If a kill left Chroma's files damaged.
            LabelIndexError: If Chroma cannot be read or written.
        """
        vectors = np.empty((0, 0), np.float32)
        for start in range(0, len(texts), _BLOCK):
            text_of = {key_of(text): text for text in texts[start : start + _BLOCK]}
            found = self.held(list(text_of))
            new = {key: text for key, text in text_of.items() if key not in found}
            if new:
                encoded = encoder.encode([*new.values()])
                # Texts are metadata, because Chroma indexes every three letters of a document for search.
                self.add([*new], encoded, [{"text": text} for text in new.values()])
                found |= zip(new, encoded, strict=True)
            block = np.array([found[key] for key in text_of], np.float32)
            if not start:
                vectors = np.empty((len(texts), block.shape[1]), np.float32)
            vectors[start : start + _BLOCK] = block
            if progress and new:
                progress(start + len(block), len(texts))
        return vectors

    def all_keys(self) -> list[str]:
        """The keys of all texts held."""
        with self._named("read"):
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

    def add(
        self, keys: Sequence[str], vectors: Floats, metadata: Sequence[dict[str, str]] | None = None
    ) -> None:
        """Adds vectors by key, and what else is to be kept of each text."""
        for start in range(0, len(keys), _BLOCK):
            own = slice(start, start + _BLOCK)
            with self._named("written"):
                self._entries.upsert(
                    ids=keys[own], embeddings=vectors[own], metadatas=metadata and metadata[own]
                )

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes the vectors of these keys."""
        for start in range(0, len(keys), _BLOCK):
            with self._named("written"):
                self._entries.delete(ids=keys[start : start + _BLOCK])

    @contextmanager
    def _named(self, done: str) -> Iterator[None]:
        """Raises any exception of Chroma, as on a full disk, as a LabelIndexError."""
        try:
            yield
        except Exception as e:  # Chroma's errors have no common base
            cause: BaseException = e
            while cause.__context__:  # the first error, before Chroma's own clean-up failed
                cause = cause.__context__
            local = isinstance(self._place, Path)
            hint = (
                "make room there, or choose another index folder" if local else "start a Chroma server there"
            )
            problem = f"the index in {self._place} cannot be {done} ({printable(str(cause))})"
            damaged = local and done == "read" and "hnsw segment" in str(cause)
            raise (DamagedStoreError if damaged else LabelIndexError)(problem, hint) from e


def _open_chroma(place: Path | str) -> Any:
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


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Gives a folder to write to, beside `path`, and moves it there at the end; an error deletes it.

    The caller holds a lock, so that interrupted processes left the other `.building` folders.
    """
    for leftover in (path, *path.parent.glob("*.building")):
        shutil.rmtree(leftover, ignore_errors=True)
    beside = path.with_suffix(".building")
    beside.mkdir(parents=True)
    try:
        yield beside
        beside.rename(path)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def save_rows(path: Path, blocks: Iterable[Floats], shape: tuple[int, int]) -> None:
    """Writes blocks of rows, all together of `shape`, as a `.npy` file that can be mapped into memory.

    It is a stream, because writing to a memory map ends the process if the disk is full.
    """
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for block in blocks:
            file.write(block.astype("<f4", copy=False).tobytes())
