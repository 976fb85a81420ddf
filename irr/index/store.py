"""The label indexes on disk: built once, then opened; listed, verified and pruned."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
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
from irr.index.vectors import (
    STORE,
    DamagedStoreError,
    Floats,
    Progress,
    VectorStore,
    key_of,
    new_folder,
    save_rows,
)
from irr.labels.space import LabelSpace
from irr.types import EntryKind, Label

if TYPE_CHECKING:
    from filelock import BaseFileLock

_KINDS = tuple(EntryKind)
# Files of an index: what it is of, and the keys of its entries' texts.
_ABOUT, _KEYS, _VECTORS = "index.json", "keys.txt", "vectors.npy"
# The folder of an encoder's folder that holds one for each label space.
_SPACES = "spaces"
# Rows of vectors that are written at a time.
_BLOCK = 4_096
# The version of the files of an index; a change of them raises it, and older indexes are built again.
_FORMAT = 1
_HOME = re.compile("[0-9a-f]{32}")
# Seconds of waiting for another process before a message says so.
_WAIT_SAID = 2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelIndex:
    """The vectors of a label space's entries, and what finds them.

    Entries stand in label order, a label's name first. The vectors are a memory-mapped copy of those in the
    encoder's `VectorStore`; a deleted copy is made again without encoding.
    """

    space: LabelSpace
    vectors: Floats  # unit vectors, shape (entries, dimensions)
    label_of: NDArray[np.int32]  # label number of each entry, ascending, shape (entries,)
    kind_of: NDArray[np.uint8]  # position of each entry's kind in `EntryKind`, shape (entries,)
    words: LexicalIndex
    path: Path

    def nearest(self, vectors: Floats, count: int) -> NDArray[np.int64]:
        """Numbers of the entries nearest to each query vector, as `ReducedScan.nearest` finds them."""
        return self._reduced.nearest(vectors, min(count, len(self.vectors)))

    @cached_property
    def _reduced(self) -> ReducedScan:
        return open_reduced(self.path / "reduced", self.vectors)

    def entry_text(self, entry: int) -> str:
        """The text that an entry was made from."""
        number = int(self.label_of[entry])
        first = int(np.searchsorted(self.label_of, number))
        return entries_of(self.space[number], self._kinds)[entry - first][1]

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

    kinds = [kind for kind in _KINDS if kind in fields or kind is EntryKind.NAME]
    home = root / _digest(_FORMAT, encoder.name, getattr(encoder, "revision", ""))
    path = home / _SPACES / _digest(space.fingerprint, *kinds)
    try:
        # Before the lock, so that an index in a read-only folder can be used.
        if index := _open(path, space, encoder):
            return index
        root.mkdir(parents=True, exist_ok=True)
        with _acquire(FileLock(home.with_suffix(".lock"))):
            if index := _open(path, space, encoder):
                return index
            IndexBuilder(home, encoder, progress, server).build(path, space, kinds)
            index = _open(path, space, encoder)
    except OSError as e:
        raise LabelIndexError(
            f"the index cannot be written under {root} ({e.strerror or e})",
            "make room there, or choose another index folder",
        ) from e
    if index is None:
        raise EncoderError(f"encoder {encoder.name} gives one text different vectors", "use another encoder")
    return index


def _acquire(lock: BaseFileLock) -> AbstractContextManager[object]:
    """A lock, acquired; a message says so if another process has it."""
    from filelock import Timeout

    try:
        return lock.acquire(timeout=_WAIT_SAID)
    except Timeout:
        logger.warning("another process builds an index: waiting for it")
        return lock.acquire()


def _digest(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def _open(path: Path, space: LabelSpace, encoder: Encoder) -> LabelIndex | None:
    """The index at `path`; None without one, or if it is damaged or another model of that name made it."""
    if not path.is_dir():
        return None
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
    if not _gives(encoder, space[0].name.strip(), vectors[0]):
        return None
    with suppress(OSError):  # marks the last use, where the folder can be written
        os.utime(path / _ABOUT)
    return LabelIndex(space, vectors, label_of, kind_of, words, path)


@dataclass(frozen=True)
class IndexBuilder:
    """Builds the indexes of one encoder in its folder, with the vectors of its `VectorStore`."""

    home: Path
    encoder: Encoder
    progress: Progress | None = None
    server: str | None = None

    def _drop_another_encoder(self) -> None:
        """Deletes the folder if another encoder of the same name made the vectors in it."""
        if last := next(self._whole_indexes(), None):
            probe = json.loads((last / _ABOUT).read_text("utf-8"))["probe"]
            if not _gives(self.encoder, probe, np.load(last / _VECTORS, mmap_mode="r")[0]):
                logger.warning("the indexes in %s were made by another encoder: encoding again", self.home)
                shutil.rmtree(self.home, ignore_errors=True)

    def build(self, path: Path, space: LabelSpace, kinds: Sequence[EntryKind]) -> None:
        """Writes the index of a label space; the caller holds the lock of the encoder's folder."""
        self._drop_another_encoder()
        numbers, own_kinds, texts = zip(
            *((number, *entry) for number, label in enumerate(space) for entry in entries_of(label, kinds)),
            strict=True,
        )
        wholes = Postings.of_texts(" ".join(text for _, text in entries_of(label, kinds)) for label in space)
        about = {"encoder": self.encoder.name, "labels": len(space), "entries": len(texts), "probe": texts[0]}
        with new_folder(path) as folder:
            np.save(folder / "label_of.npy", np.array(numbers, np.int32))
            np.save(folder / "kind_of.npy", np.array([*map(_KINDS.index, own_kinds)], np.uint8))
            LexicalIndex(Postings.of_texts(label.name for label in space), wholes).save(folder / "words.npz")
            self._write_vectors(folder, texts)
            (folder / _ABOUT).write_text(json.dumps(about), "utf-8")

    def _write_vectors(self, folder: Path, texts: Sequence[str]) -> None:
        """Writes the vector of each text: from the index opened last, else from the store, else encoded."""
        keys = [key_of(text) for text in texts]
        text_of = dict(zip(keys, texts, strict=True))
        row_of: dict[str, int] = {}
        parts: list[Floats] = []
        if last := next(self._whole_indexes(), None):
            vectors, row_of = _vectors_of(last)
            parts.append(vectors)
        new = [key for key in text_of if key not in row_of]
        logger.info("the index has %d texts, of which %d are new", len(text_of), len(new))
        if new:
            row_of |= {key: row for row, key in enumerate(new, sum(map(len, parts)))}
            parts.append(self._encoded([text_of[key] for key in new]))
        rows = np.array([row_of[key] for key in keys])
        blocks = (_rows_of(parts, rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK))
        save_rows(folder / _VECTORS, blocks, (len(rows), parts[0].shape[1]))
        (folder / _KEYS).write_text("\n".join(keys), "ascii")

    def _encoded(self, texts: Sequence[str]) -> Floats:
        """The vectors of texts from the store, which encodes those that are new to it."""
        try:
            with VectorStore(self.home, self.server) as store:
                return store.vectors(texts, self.encoder, self.progress)
        except DamagedStoreError:
            logger.warning("a kill left the vectors in %s damaged: taking those of the indexes", self.home)
        shutil.rmtree(self.home / STORE)
        with VectorStore(self.home) as store:
            for path in self._whole_indexes():
                vectors, row_of = _vectors_of(path)
                store.add(list(row_of), vectors[list(row_of.values())])
            return store.vectors(texts, self.encoder, self.progress)

    def _whole_indexes(self) -> Iterator[Path]:
        """The folders of the indexes whose files fit together, the one that was opened last first."""
        for index in list_indexes(self.home):
            with suppress(OSError, ValueError, EOFError):
                keys = (index.path / _KEYS).stat().st_size
                if len(np.load(index.path / _VECTORS, mmap_mode="r")) == index.entries == (keys + 1) // 33:
                    yield index.path


@dataclass(frozen=True)
class IndexInfo:
    """A label index in the folder of indexes."""

    path: Path
    encoder: str
    labels: int
    entries: int
    unused: float  # days since it was last opened

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())


def list_indexes(folder: Path) -> list[IndexInfo]:
    """The indexes under a folder, of all encoders or of one, the one that was opened last first."""
    found, now = [], time.time()
    for file in folder.glob(f"**/{_SPACES}/*/{_ABOUT}"):
        with suppress(OSError, ValueError, KeyError):
            about = json.loads(file.read_text("utf-8"))
            unused = (now - file.stat().st_mtime) / 86_400
            facts = str(about["encoder"]), int(about["labels"]), int(about["entries"])
            found.append(IndexInfo(file.parent, *facts, unused))
    return sorted(found, key=lambda index: (index.unused, index.path))


def prune(root: Path, days: float) -> tuple[int, int]:
    """Deletes the indexes that were not opened for `days` days, and vectors that no other index uses.

    Also deletes what interrupted builds left. All of it can be built again.

    Returns:
        How many indexes and how many vectors were deleted.
    """
    from filelock import FileLock

    indexes = vectors = 0
    homes = [path.parent for path in root.glob(f"*/{_SPACES}") if _HOME.fullmatch(path.parent.name)]
    for home in homes:
        with FileLock(home.with_suffix(".lock")):
            spaces = home / _SPACES
            old = [index.path for index in list_indexes(home) if index.unused >= days]
            indexes += len(old)
            for path in old:
                shutil.rmtree(path)
            for leftover in [*spaces.glob("*.building"), *spaces.glob("*/*.building")]:
                shutil.rmtree(leftover)
            empty = not any(spaces.iterdir())
            if (home / STORE).is_dir():
                used = {key for file in spaces.glob(f"*/{_KEYS}") for key in _keys_in(file.parent)}
                with VectorStore(home) as store:
                    unused = [key for key in store.all_keys() if key not in used]
                    if not empty:
                        store.delete(unused)
                vectors += len(unused)
            if empty:
                shutil.rmtree(home)
    return indexes, vectors


def verify(root: Path) -> Iterator[tuple[IndexInfo, str]]:
    """Yields every index and its damage, or "": each vector is compared with the one in Chroma."""
    for index in list_indexes(root):
        yield index, _problem(index)


def _problem(index: IndexInfo) -> str:
    home = index.path.parent.parent
    try:
        keys = _keys_in(index.path)
        vectors = np.load(index.path / _VECTORS, mmap_mode="r")
    except (OSError, ValueError, EOFError) as e:
        return f"it cannot be read ({e})"
    if not len(keys) == len(vectors) == index.entries:
        return "its files differ in length"
    if not (home / STORE).is_dir():
        return ""  # a server holds the vectors
    try:
        with VectorStore(home) as store:
            held = store.held(keys)
    except LabelIndexError as e:
        return str(e)
    if missing := sum(key not in held for key in keys):
        return f"Chroma lacks {missing:,} of its vectors"
    differ = sum(not np.array_equal(vectors[row], held[key]) for row, key in enumerate(keys))
    return f"{differ:,} of its vectors are not those in Chroma" if differ else ""


def _keys_in(index: Path) -> list[str]:
    """The keys of an index's entries, in their order."""
    return (index / _KEYS).read_text("ascii").split()


def _vectors_of(index: Path) -> tuple[Floats, dict[str, int]]:
    """The vectors of an index, and a row of them for each key."""
    return np.load(index / _VECTORS, mmap_mode="r"), {key: row for row, key in enumerate(_keys_in(index))}


def _rows_of(parts: Sequence[Floats], rows: NDArray[np.int64]) -> Floats:
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
    name = label.name.strip()
    entries = [(EntryKind.NAME, name)]
    if EntryKind.ALIAS in kinds:
        aliases = dict.fromkeys(alias.strip() for alias in label.aliases)
        entries += [(EntryKind.ALIAS, alias) for alias in aliases if alias and alias != name]
    if EntryKind.DESCRIPTION in kinds and label.description and label.description.strip():
        entries.append((EntryKind.DESCRIPTION, label.description.strip()))
    return entries


def _gives(encoder: Encoder, text: str, vector: Floats) -> bool:
    """Whether an encoder gives a text this vector."""
    probe = encoder.encode([text])[0]
    return probe.shape == vector.shape and float(probe @ vector) >= 0.999
