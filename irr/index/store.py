"""The label index: a Chroma entry per name, alias and description, built beside and put in place at once."""

from __future__ import annotations

import hashlib
import logging
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import Encoder
from irr.errors import EncoderError, LabelIndexError
from irr.index.lexical import LexicalIndex, Postings
from irr.labels.space import LabelSpace
from irr.text.printable import printable
from irr.types import EntryKind, Label

# Raised whenever what is written below changes, so that an older index is never read as a newer one.
_FORMAT = 2
_COLLECTION = "labels"
_KINDS = tuple(EntryKind)
# Entries encoded and added at a time; below Chroma's limit of 5,461 a call.
_BLOCK = 4_096
# Queries asked at a time: ids come back as strings, a hundred for each.
_QUERIES = 1_024
# ef_search must be well above n_results, or recall falls.
_EF_SEARCH = 400
_MAX_RESULTS = 200

Progress = Callable[[int, int], None]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelIndex:
    """The vectors of a label space's entries, and Chroma's graph over them.

    Entries stand in label order, a label's name first. The vectors are kept beside Chroma's own copy as
    a memory-mapped array, because exact scores need thousands of them at once.

    Attributes:
        space: The labels.
        vectors: Unit vectors, shape (entries, dimensions), float32.
        label_of: Label number of each entry, shape (entries,), ascending.
        kind_of: Position of each entry's kind in `EntryKind`, shape (entries,).
        words: What words labels hold.
        path: The index's folder.
    """

    space: LabelSpace
    vectors: NDArray[np.float32]
    label_of: NDArray[np.int32]
    kind_of: NDArray[np.uint8]
    words: LexicalIndex
    path: Path

    def nearest(self, vectors: NDArray[np.float32], n_results: int) -> NDArray[np.int64]:
        """Asks Chroma for the nearest entries of each query vector.

        Returns:
            Entry numbers, nearest first, shape (queries, n_results). Approximate, as HNSW graphs are.
        """
        n_results = min(n_results, _MAX_RESULTS, len(self.vectors))
        try:
            found = [
                self._collection.query(
                    query_embeddings=vectors[start : start + _QUERIES], n_results=n_results, include=[]
                )["ids"]
                for start in range(0, len(vectors), _QUERIES)
            ]
        except Exception as e:  # Chroma's errors have no common base
            raise LabelIndexError(f"the index in {self.path} cannot be queried", "delete that folder") from e
        return np.concatenate([np.asarray(ids, dtype=np.int64) for ids in found])

    @cached_property
    def _collection(self) -> Any:
        # Kept open: Chroma reads the whole graph when it opens it.
        return _client(self.path).get_collection(_COLLECTION, embedding_function=None)

    def entry_text(self, entry: int) -> str:
        """The text that an entry was made from."""
        label = self.space[int(self.label_of[entry])]
        first = int(np.searchsorted(self.label_of, self.label_of[entry]))
        return _entries(label, self._kinds)[entry - first][1]

    @cached_property
    def _kinds(self) -> list[EntryKind]:
        return [_KINDS[kind] for kind in np.unique(self.kind_of)]


def open_index(
    space: LabelSpace,
    encoder: Encoder,
    fields: Sequence[EntryKind],
    root: Path,
    progress: Progress | None = None,
) -> LabelIndex:
    """Opens the index of these labels, this encoder and these fields under `root`; builds it if need be.

    Args:
        space: The labels.
        encoder: Encodes the entries, and checks that an index found was made by the same model.
        fields: The parts of a label that get entries; a name always does.
        root: The folder that holds indexes, each in a folder named by its key.
        progress: Called with (entries done, entries in all) while building.

    Raises:
        LabelIndexError: If the index cannot be written there.
    """
    from filelock import FileLock

    kinds = [kind for kind in _KINDS if kind in fields or kind is EntryKind.NAME]
    path = root / _key(space, encoder, kinds)
    try:
        # Before the lock: an index that others keep in a read-only folder is as good.
        if path.is_dir() and (index := _open(path, space, encoder)):
            return index
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            index = _open(path, space, encoder) if path.is_dir() else None
            if index is None:
                # The lock is ours, so whatever stands here is what an interrupted build left.
                # A name of its own for each build: Chroma keeps what it opened once, broken or not.
                beside = path.with_suffix(f".{uuid.uuid4().hex[:12]}.building")
                for leftover in (path, *root.glob(f"{path.name}*.building")):
                    shutil.rmtree(leftover, ignore_errors=True)
                try:
                    _build(beside, space, encoder, kinds, progress)
                    beside.rename(path)
                except BaseException:
                    shutil.rmtree(beside, ignore_errors=True)
                    raise
                index = _open(path, space, encoder)
    except OSError as e:
        raise LabelIndexError(
            f"the index cannot be written under {root} ({e.strerror or e})",
            "make room there, or choose another index folder",
        ) from e
    if index is None:
        raise EncoderError(f"encoder {encoder.name} gives one text different vectors", "use another encoder")
    return index


def _key(space: LabelSpace, encoder: Encoder, kinds: Sequence[EntryKind]) -> str:
    parts = [str(_FORMAT), space.fingerprint, encoder.name, *kinds]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _entries(label: Label, kinds: Sequence[EntryKind]) -> list[tuple[EntryKind, str]]:
    entries = [(EntryKind.NAME, label.name.strip())]
    if EntryKind.ALIAS in kinds:
        aliases = dict.fromkeys(alias.strip() for alias in label.aliases)
        entries += [(EntryKind.ALIAS, alias) for alias in aliases if alias and alias != entries[0][1]]
    if EntryKind.DESCRIPTION in kinds and label.description and label.description.strip():
        entries.append((EntryKind.DESCRIPTION, label.description.strip()))
    return entries


def _build(
    path: Path,
    space: LabelSpace,
    encoder: Encoder,
    kinds: Sequence[EntryKind],
    progress: Progress | None,
) -> None:
    path.mkdir()
    entries = [(number, *entry) for number, label in enumerate(space) for entry in _entries(label, kinds)]
    logger.info("building the index: %d entries of %d labels", len(entries), len(space))
    np.save(path / "label_of.npy", np.array([number for number, _, _ in entries], np.int32))
    np.save(path / "kind_of.npy", np.array([_KINDS.index(kind) for _, kind, _ in entries], np.uint8))
    wholes = Postings.of_texts(" ".join(text for _, text in _entries(label, kinds)) for label in space)
    LexicalIndex(Postings.of_texts(label.name for label in space), wholes).save(path / "words.npz")
    with _chroma_writes(path):
        client = _client(path)
        collection = client.create_collection(
            _COLLECTION,
            embedding_function=None,
            configuration={"hnsw": {"space": "ip", "ef_search": _EF_SEARCH}},
        )
    with client, (path / "vectors.npy").open("wb") as file:
        for start in range(0, len(entries), _BLOCK):
            block = entries[start : start + _BLOCK]
            part = encoder.encode([text for _, _, text in block])
            if not start:
                shape = (len(entries), part.shape[1])
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(part.astype("<f4").tobytes())
            with _chroma_writes(path):
                collection.add(
                    ids=[str(start + i) for i in range(len(block))],
                    embeddings=part,
                    metadatas=[{"label": space[number].id, "kind": kind.value} for number, kind, _ in block],
                )
            if progress:
                progress(start + len(block), len(entries))


@contextmanager
def _chroma_writes(path: Path) -> Iterator[None]:
    """Makes one error of those that Chroma raises, on a full disk for instance.

    Raises:
        LabelIndexError: If Chroma cannot write.
    """
    try:
        yield
    except Exception as e:  # Chroma's errors have no common base
        cause: BaseException = e
        while cause.__context__:  # what it raises first, before its own clean-up fails
            cause = cause.__context__
        problem = f"the index cannot be written under {path.parent} ({printable(str(cause))})"
        raise LabelIndexError(problem, "make room there, or choose another index folder") from e


def _open(path: Path, space: LabelSpace, encoder: Encoder) -> LabelIndex | None:
    """The index at `path`, or None when it is damaged or another model went by the encoder's name."""
    try:
        vectors, label_of, kind_of = (
            np.load(path / f"{name}.npy", mmap_mode="r") for name in ("vectors", "label_of", "kind_of")
        )
        whole = len(vectors) == len(label_of) == len(kind_of)
        if not whole or not np.array_equal(np.unique(label_of), np.arange(len(space))):
            raise ValueError("arrays that do not belong together")
        words = LexicalIndex.load(path / "words.npz", len(space))
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        logger.warning("the index in %s is damaged: building it again", path)
        return None
    probe = encoder.encode([space[0].name.strip()])[0]
    if probe.shape != vectors[0].shape or float(probe @ vectors[0]) < 0.999:
        logger.warning("the index in %s was made by another encoder: building it again", path)
        return None
    return LabelIndex(space, vectors, label_of, kind_of, words, path)


def _client(path: Path) -> Any:
    import chromadb
    from chromadb.config import Settings

    # Any: ClientAPI has no close() although the client has.
    return chromadb.PersistentClient(str(path / "chroma"), settings=Settings(anonymized_telemetry=False))
