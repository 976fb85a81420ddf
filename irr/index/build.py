"""Writes a label index: the entries of the labels, their words, and their vectors."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from irr.encoders.base import Encoder
from irr.index.arrays import save_rows
from irr.index.lexical import LexicalIndex, Postings
from irr.index.vectors import DamagedStoreError, Progress, VectorStore, key_of
from irr.labels.space import LabelSpace
from irr.types import EntryKind, Label

KINDS = tuple(EntryKind)
# Files of an index: what it is of, and the keys of its entries' texts.
ABOUT, KEYS, VECTORS = "index.json", "keys.txt", "vectors.npy"
# Folders of an encoder: one for each label space, and the database of its vectors.
SPACES, STORE = "spaces", "chroma"
# Rows of vectors that are written at a time.
_BLOCK = 4_096

logger = logging.getLogger(__name__)


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
