"""The label index: a vector per name, alias and description, in label order; put in place at once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import Encoder
from irr.errors import EncoderError, LabelIndexError
from irr.index.lexical import LexicalIndex, Postings
from irr.index.vectors import Progress, VectorStore, close_chroma, key_of, open_chroma
from irr.labels.space import LabelSpace
from irr.types import EntryKind, Label

if TYPE_CHECKING:
    from filelock import BaseFileLock

# Raised whenever what is written below changes, so that an older index is never read as a newer one.
_FORMAT = 3
_KINDS = tuple(EntryKind)
# What an index is, the keys of its entries' texts; where indexes stand, and the database beside them.
ABOUT = "index.json"
KEYS = "keys.txt"
SPACES = "spaces"
STORE = "chroma"
_GRAPH = "graph"
# Entries added to the graph at a time; below Chroma's limit of 5,461 a call.
_BLOCK = 4_096
# Queries asked at a time: ids come back as strings, a hundred for each.
_QUERIES = 1_024
# ef_search must be well above n_results, or recall falls.
_EF_SEARCH = 400
_MAX_RESULTS = 200
# Seconds after which waiting for another process is said.
_WAIT_SAID = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelIndex:
    """The vectors of a label space's entries, and Chroma's graph over them where one is asked.

    Entries stand in label order, a label's name first. The vectors are a memory-mapped copy of what the
    encoder's `VectorStore` holds: it can be thrown away, and is made again without encoding anything.

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
        """Asks Chroma's graph for the nearest entries of each query vector; the first call builds it.

        Returns:
            Entry numbers, nearest first, shape (queries, n_results). Approximate, as HNSW graphs are.
        """
        n_results = min(n_results, _MAX_RESULTS, len(self.vectors))
        try:
            found = [
                self._graph.query(
                    query_embeddings=vectors[start : start + _QUERIES], n_results=n_results, include=[]
                )["ids"]
                for start in range(0, len(vectors), _QUERIES)
            ]
        except Exception as e:  # Chroma's errors have no common base
            raise LabelIndexError(f"the index in {self.path} cannot be queried", "delete that folder") from e
        return np.concatenate([np.asarray(ids, dtype=np.int64) for ids in found])

    @cached_property
    def _graph(self) -> Any:
        # Kept open: Chroma reads the whole graph when it opens it.
        from filelock import FileLock

        path = self.path / _GRAPH
        if not path.is_dir():
            with FileLock(self.path / f"{_GRAPH}.lock"):
                if not path.is_dir():
                    beside = self.path / f"{_GRAPH}.building"
                    shutil.rmtree(beside, ignore_errors=True)
                    self._build_graph(beside)
                    beside.rename(path)
        return open_chroma(path).get_collection(_GRAPH, embedding_function=None)

    def _build_graph(self, path: Path) -> None:
        logger.warning("building the graph of %d entries, once", len(self.vectors))
        client = open_chroma(path)
        graph = client.create_collection(
            _GRAPH,
            embedding_function=None,
            configuration={"hnsw": {"space": "ip", "ef_search": _EF_SEARCH}},
        )
        for start in range(0, len(self.vectors), _BLOCK):
            block = self.vectors[start : start + _BLOCK]
            graph.add(ids=[str(start + i) for i in range(len(block))], embeddings=block)
        close_chroma(client)

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
    server: str | None = None,
) -> LabelIndex:
    """Opens the index of these labels, this encoder and these fields under `root`; builds it if need be.

    Texts that the encoder has met before, in any label space under `root`, are not encoded again.

    Args:
        space: The labels.
        encoder: Encodes the entries, and checks that an index found was made by the same model.
        fields: The parts of a label that get entries; a name always does.
        root: The folder that holds indexes: a folder for each encoder, and in it one for each label space.
        progress: Called with (texts done, texts in all) while new texts are encoded.
        server: URL of a Chroma server that holds the vectors instead of a database under `root`.

    Raises:
        LabelIndexError: If the index cannot be written there.
    """
    from filelock import FileLock

    kinds = [kind for kind in _KINDS if kind in fields or kind is EntryKind.NAME]
    home = root / _digest(_FORMAT, encoder.name, getattr(encoder, "revision", ""))
    path = home / SPACES / _digest(space.fingerprint, *kinds)
    try:
        # Before the lock: an index that others keep in a read-only folder is as good.
        if path.is_dir() and (index := _open(path, space, encoder)):
            return index
        root.mkdir(parents=True, exist_ok=True)
        with _waiting(FileLock(home.with_suffix(".lock"))):
            index = _open(path, space, encoder) if path.is_dir() else None
            if index is None:
                if _is_of_another(home, encoder):
                    logger.warning("the indexes in %s were made by another encoder: encoding again", home)
                    shutil.rmtree(home, ignore_errors=True)
                _build(home, path, space, encoder, kinds, progress, server)
                index = _open(path, space, encoder)
    except OSError as e:
        raise LabelIndexError(
            f"the index cannot be written under {root} ({e.strerror or e})",
            "make room there, or choose another index folder",
        ) from e
    if index is None:
        raise EncoderError(f"encoder {encoder.name} gives one text different vectors", "use another encoder")
    return index


@contextmanager
def _waiting(lock: BaseFileLock) -> Iterator[None]:
    """Holds a lock, and says so where it has to be waited for."""
    from filelock import Timeout

    try:
        lock.acquire(timeout=_WAIT_SAID)
    except Timeout:
        logger.warning("another process builds an index: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def collection_of(home: Path) -> str:
    """The name of the Chroma collection that holds an encoder's vectors."""
    return f"irr-{home.name}"


def _digest(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def _entries(label: Label, kinds: Sequence[EntryKind]) -> list[tuple[EntryKind, str]]:
    entries = [(EntryKind.NAME, label.name.strip())]
    if EntryKind.ALIAS in kinds:
        aliases = dict.fromkeys(alias.strip() for alias in label.aliases)
        entries += [(EntryKind.ALIAS, alias) for alias in aliases if alias and alias != entries[0][1]]
    if EntryKind.DESCRIPTION in kinds and label.description and label.description.strip():
        entries.append((EntryKind.DESCRIPTION, label.description.strip()))
    return entries


def _build(
    home: Path,
    path: Path,
    space: LabelSpace,
    encoder: Encoder,
    kinds: Sequence[EntryKind],
    progress: Progress | None,
    server: str | None,
) -> None:
    """Writes the index beside `path`, and puts it in place at once."""
    # The lock is ours, so whatever stands here is what an interrupted build left.
    beside = path.with_suffix(".building")
    for leftover in (path, *path.parent.glob("*.building")):
        shutil.rmtree(leftover, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        _write(beside, home, space, encoder, kinds, progress, server)
        beside.rename(path)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _write(
    beside: Path,
    home: Path,
    space: LabelSpace,
    encoder: Encoder,
    kinds: Sequence[EntryKind],
    progress: Progress | None,
    server: str | None,
) -> None:
    entries = [(number, *entry) for number, label in enumerate(space) for entry in _entries(label, kinds)]
    np.save(beside / "label_of.npy", np.array([number for number, _, _ in entries], np.int32))
    np.save(beside / "kind_of.npy", np.array([_KINDS.index(kind) for _, kind, _ in entries], np.uint8))
    wholes = Postings.of_texts(" ".join(text for _, text in _entries(label, kinds)) for label in space)
    LexicalIndex(Postings.of_texts(label.name for label in space), wholes).save(beside / "words.npz")
    _write_vectors(beside, home, [text for _, _, text in entries], encoder, progress, server)
    about = {"encoder": encoder.name, "labels": len(space), "entries": len(entries), "probe": entries[0][2]}
    (beside / ABOUT).write_text(json.dumps(about), "utf-8")


def _write_vectors(
    beside: Path,
    home: Path,
    texts: Sequence[str],
    encoder: Encoder,
    progress: Progress | None,
    server: str | None,
) -> None:
    """Writes the vector of each text: from the index made last, else from the store, else encoded."""
    keys = [key_of(text) for text in texts]
    text_of = dict(zip(keys, texts, strict=True))
    last = _last(home)
    row_of: dict[str, int] = {}
    known: NDArray[np.float32] | None = None
    if last is not None:
        known = np.load(last / "vectors.npy", mmap_mode="r")
        row_of = {key: row for row, key in enumerate((last / KEYS).read_text("ascii").split())}
    new = [key for key in text_of if key not in row_of]
    logger.info("the index has %d texts, of which %d are new", len(text_of), len(new))
    if new:
        with VectorStore(server or home / STORE, collection_of(home)) as store:
            fresh = store.vectors([text_of[key] for key in new], encoder, progress)
        first = 0 if known is None else len(known)
        row_of |= {key: first + row for row, key in enumerate(new)}
        known = fresh if known is None else np.concatenate([known, fresh])
    assert known is not None
    rows = [row_of[key] for key in keys]
    # Not by a memory map: a full disk would end the process.
    with (beside / "vectors.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(rows), known.shape[1])}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(rows), _BLOCK):
            file.write(known[rows[start : start + _BLOCK]].astype("<f4", copy=False).tobytes())
    (beside / KEYS).write_text("\n".join(keys), "ascii")


def _last(home: Path) -> Path | None:
    """The index of this encoder that was made last, if it is whole."""
    found = sorted((home / SPACES).glob(f"*/{ABOUT}"), key=lambda path: path.stat().st_mtime)
    for about in reversed(found):
        try:
            entries = json.loads(about.read_text("utf-8"))["entries"]
            keys = (about.parent / KEYS).stat().st_size
            if len(np.load(about.parent / "vectors.npy", mmap_mode="r")) == entries == (keys + 1) // 33:
                return about.parent
        except (OSError, ValueError, EOFError, KeyError):
            continue
    return None


def _is_of_another(home: Path, encoder: Encoder) -> bool:
    """Whether another model went by the encoder's name."""
    last = _last(home)
    if last is None:
        return False
    probe = json.loads((last / ABOUT).read_text("utf-8"))["probe"]
    return not _same(encoder, probe, np.load(last / "vectors.npy", mmap_mode="r")[0])


def _same(encoder: Encoder, text: str, vector: NDArray[np.float32]) -> bool:
    probe = encoder.encode([text])[0]
    return probe.shape == vector.shape and float(probe @ vector) >= 0.999


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
    if not _same(encoder, space[0].name.strip(), vectors[0]):
        return None
    with suppress(OSError):  # when it was opened last; in a folder that others keep, that is theirs to know
        os.utime(path / ABOUT)
    return LabelIndex(space, vectors, label_of, kind_of, words, path)
