"""The label index: a vector for each name, alias and description, in label order; built once, then opened."""

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
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import Encoder
from irr.errors import EncoderError, LabelIndexError
from irr.index.lexical import LexicalIndex, Postings
from irr.index.reduced import ReducedScan, open_reduced
from irr.index.vectors import DamagedStoreError, Progress, VectorStore, key_of, save_rows
from irr.labels.space import LabelSpace
from irr.types import EntryKind, Label

if TYPE_CHECKING:
    from filelock import BaseFileLock

KINDS = tuple(EntryKind)
# Files of an index: what it is of, and the keys of its entries' texts.
ABOUT, KEYS, VECTORS = "index.json", "keys.txt", "vectors.npy"
# Folders of an encoder: one for each label space, and the database of its vectors.
SPACES, STORE = "spaces", "chroma"
# Rows of vectors that are written at a time.
_BLOCK = 4_096
# The version of the files of an index; a change of them raises it, and older indexes are built again.
_FORMAT = 1
# Seconds of waiting for another process before a message says so.
_WAIT_SAID = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelIndex:
    """The vectors of a label space's entries, and what finds them.

    Entries stand in label order, a label's name first. The vectors are a memory-mapped copy of those in the
    encoder's `VectorStore`; a deleted copy is made again without encoding.

    Attributes:
        space: The labels.
        vectors: Unit vectors, shape (entries, dimensions), float32.
        label_of: Label number of each entry, shape (entries,), ascending.
        kind_of: Position of each entry's kind in `EntryKind`, shape (entries,).
        words: The words of the labels.
        path: The index's folder.
    """

    space: LabelSpace
    vectors: NDArray[np.float32]
    label_of: NDArray[np.int32]
    kind_of: NDArray[np.uint8]
    words: LexicalIndex
    path: Path

    def nearest(self, vectors: NDArray[np.float32], n_results: int) -> NDArray[np.int64]:
        """The entries nearest to each query vector, approximately, as `ReducedScan` finds them.

        Returns:
            Entry numbers, nearest first, shape (queries, n_results).
        """
        return self._reduced.nearest(vectors, min(n_results, len(self.vectors)))

    @cached_property
    def _reduced(self) -> ReducedScan:
        return open_reduced(self.path / "reduced", self.vectors)

    def entry_text(self, entry: int) -> str:
        """The text that an entry was made from."""
        label = self.space[int(self.label_of[entry])]
        first = int(np.searchsorted(self.label_of, self.label_of[entry]))
        return entries_of(label, self._kinds)[entry - first][1]

    @cached_property
    def _kinds(self) -> list[EntryKind]:
        return [KINDS[kind] for kind in np.unique(self.kind_of)]


def open_index(
    space: LabelSpace,
    encoder: Encoder,
    fields: Sequence[EntryKind],
    root: Path,
    progress: Progress | None = None,
    server: str | None = None,
) -> LabelIndex:
    """Opens the index of these labels, this encoder and these fields under `root`, or builds it.

    A build encodes only texts that no label space under `root` holds yet.

    Args:
        space: The labels.
        encoder: Encodes the entries, and checks that the same model made an index that is found.
        fields: The parts of a label that get entries, besides its name, which always does.
        root: The folder that holds indexes: a folder for each encoder, and in it one for each label space.
        progress: Called with (texts done, texts in all) while new texts are encoded.
        server: URL of a Chroma server that holds the vectors instead of a database under `root`.

    Raises:
        LabelIndexError: If the index cannot be written there.
    """
    from filelock import FileLock

    kinds = [kind for kind in KINDS if kind in fields or kind is EntryKind.NAME]
    home = root / _digest(_FORMAT, encoder.name, getattr(encoder, "revision", ""))
    path = home / SPACES / _digest(space.fingerprint, *kinds)
    try:
        # Before the lock, so that an index in a read-only folder can be used.
        if path.is_dir() and (index := _open(path, space, encoder)):
            return index
        root.mkdir(parents=True, exist_ok=True)
        with _waiting(FileLock(home.with_suffix(".lock"))):
            index = _open(path, space, encoder) if path.is_dir() else None
            if index is None:
                builder = IndexBuilder(home, encoder, progress, server)
                builder.drop_another_encoder()
                builder.build(path, space, kinds)
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
    """Holds a lock; a message says so if another process has it."""
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


def _digest(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def _open(path: Path, space: LabelSpace, encoder: Encoder) -> LabelIndex | None:
    """The index at `path`; None if it is damaged, or if another model of the encoder's name made it."""
    try:
        vectors, label_of, kind_of = (
            np.load(path / f"{name}.npy", mmap_mode="r") for name in ("vectors", "label_of", "kind_of")
        )
        whole = len(vectors) == len(label_of) == len(kind_of)
        if not whole or not np.array_equal(np.unique(label_of), np.arange(len(space))):
            raise ValueError("the arrays differ in length")
        words = LexicalIndex.load(path / "words.npz", len(space))
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        logger.warning("the index in %s is damaged: building it again", path)
        return None
    if not gives(encoder, space[0].name.strip(), vectors[0]):
        return None
    with suppress(OSError):  # marks the last use, where the folder can be written
        os.utime(path / ABOUT)
    return LabelIndex(space, vectors, label_of, kind_of, words, path)


@dataclass(frozen=True)
class IndexBuilder:
    """Builds the indexes of one encoder.

    Attributes:
        home: The encoder's folder.
        encoder: Encodes new texts.
        progress: Called with (texts done, texts in all) while they are encoded.
        server: URL of the Chroma server that holds the vectors; None for a database in `home`.
    """

    home: Path
    encoder: Encoder
    progress: Progress | None = None
    server: str | None = None

    def build(self, path: Path, space: LabelSpace, kinds: Sequence[EntryKind]) -> None:
        """Writes the index of a label space beside `path`, then moves it there."""
        # This process holds the lock, so that an interrupted build left what stands here.
        beside = path.with_suffix(".building")
        for leftover in (path, *path.parent.glob("*.building")):
            shutil.rmtree(leftover, ignore_errors=True)
        beside.mkdir(parents=True)
        try:
            self._write(beside, space, kinds)
            beside.rename(path)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise

    def drop_another_encoder(self) -> None:
        """Deletes the folder if another encoder of the same name made the vectors in it."""
        last = self._last()
        if last is None:
            return
        probe = json.loads((last / ABOUT).read_text("utf-8"))["probe"]
        if not gives(self.encoder, probe, np.load(last / VECTORS, mmap_mode="r")[0]):
            logger.warning("the indexes in %s were made by another encoder: encoding again", self.home)
            shutil.rmtree(self.home, ignore_errors=True)

    def _write(self, folder: Path, space: LabelSpace, kinds: Sequence[EntryKind]) -> None:
        entries = [
            (number, *entry) for number, label in enumerate(space) for entry in entries_of(label, kinds)
        ]
        np.save(folder / "label_of.npy", np.array([number for number, _, _ in entries], np.int32))
        np.save(folder / "kind_of.npy", np.array([KINDS.index(kind) for _, kind, _ in entries], np.uint8))
        wholes = Postings.of_texts(" ".join(text for _, text in entries_of(label, kinds)) for label in space)
        LexicalIndex(Postings.of_texts(label.name for label in space), wholes).save(folder / "words.npz")
        self._write_vectors(folder, [text for _, _, text in entries])
        about = {
            "encoder": self.encoder.name,
            "labels": len(space),
            "entries": len(entries),
            "probe": entries[0][2],
        }
        (folder / ABOUT).write_text(json.dumps(about), "utf-8")

    def _write_vectors(self, folder: Path, texts: Sequence[str]) -> None:
        """Writes the vector of each text: from the index made last, else from the store, else encoded."""
        keys = [key_of(text) for text in texts]
        text_of = dict(zip(keys, texts, strict=True))
        last = self._last()
        row_of: dict[str, int] = {}
        parts: list[NDArray[np.float32]] = []
        if last is not None:
            vectors, row_of = _held(last)
            parts.append(vectors)
        new = [key for key in text_of if key not in row_of]
        logger.info("the index has %d texts, of which %d are new", len(text_of), len(new))
        if new:
            row_of |= {key: row for row, key in enumerate(new, len(parts[0]) if parts else 0)}
            parts.append(self._encoded([text_of[key] for key in new]))
        rows = np.array([row_of[key] for key in keys])
        blocks = (_rows_of(parts, rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK))
        save_rows(folder / VECTORS, blocks, (len(rows), parts[0].shape[1]))
        (folder / KEYS).write_text("\n".join(keys), "ascii")

    def _encoded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of texts from the store, which encodes those that are new to it."""
        try:
            with VectorStore(self.server or self.home / STORE, collection_of(self.home)) as store:
                return store.vectors(texts, self.encoder, self.progress)
        except DamagedStoreError:
            logger.warning("a kill left the vectors in %s damaged: taking those of the indexes", self.home)
        shutil.rmtree(self.home / STORE)
        with VectorStore(self.home / STORE, collection_of(self.home)) as store:
            for path in self._whole():
                vectors, row_of = _held(path)
                store.add(list(row_of), vectors[list(row_of.values())])
            return store.vectors(texts, self.encoder, self.progress)

    def _last(self) -> Path | None:
        """The encoder's whole index that was opened last."""
        return next(self._whole(), None)

    def _whole(self) -> Iterator[Path]:
        """The encoder's whole indexes, the one that was opened last first."""
        found = sorted((self.home / SPACES).glob(f"*/{ABOUT}"), key=lambda path: path.stat().st_mtime)
        for about in reversed(found):
            try:
                entries = json.loads(about.read_text("utf-8"))["entries"]
                keys = (about.parent / KEYS).stat().st_size
                if len(np.load(about.parent / VECTORS, mmap_mode="r")) == entries == (keys + 1) // 33:
                    yield about.parent
            except (OSError, ValueError, EOFError, KeyError):
                continue


def keys_in(index: Path) -> list[str]:
    """The keys of an index's entries, in their order."""
    return (index / KEYS).read_text("ascii").split()


def _held(index: Path) -> tuple[NDArray[np.float32], dict[str, int]]:
    """The vectors of an index, and a row of them for each key."""
    return np.load(index / VECTORS, mmap_mode="r"), {key: row for row, key in enumerate(keys_in(index))}


def _rows_of(parts: Sequence[NDArray[np.float32]], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """These rows of the parts as if joined; to join them would take their memory again."""
    picked = np.empty((len(rows), parts[0].shape[1]), np.float32)
    first = 0
    for part in parts:
        own = (rows >= first) & (rows < first + len(part))
        picked[own] = part[rows[own] - first]
        first += len(part)
    return picked


def entries_of(label: Label, kinds: Sequence[EntryKind]) -> list[tuple[EntryKind, str]]:
    """The entries of a label: its name, and its distinct aliases and description if `kinds` has them."""
    entries = [(EntryKind.NAME, label.name.strip())]
    if EntryKind.ALIAS in kinds:
        aliases = dict.fromkeys(alias.strip() for alias in label.aliases)
        entries += [(EntryKind.ALIAS, alias) for alias in aliases if alias and alias != entries[0][1]]
    if EntryKind.DESCRIPTION in kinds and label.description and label.description.strip():
        entries.append((EntryKind.DESCRIPTION, label.description.strip()))
    return entries


def gives(encoder: Encoder, text: str, vector: NDArray[np.float32]) -> bool:
    """Whether an encoder gives a text this vector."""
    probe = encoder.encode([text])[0]
    return probe.shape == vector.shape and float(probe @ vector) >= 0.999


def collection_of(home: Path) -> str:
    """The name of the Chroma collection that holds an encoder's vectors."""
    return f"irr-{home.name}"
