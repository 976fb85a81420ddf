"""The label index: a vector for each name, alias and description, in label order."""

from __future__ import annotations

import hashlib
import logging
import os
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
from irr.index.build import ABOUT, KINDS, SPACES, IndexBuilder, entries_of, gives
from irr.index.lexical import LexicalIndex
from irr.index.reduced import ReducedScan, open_reduced
from irr.index.vectors import Progress
from irr.labels.space import LabelSpace
from irr.types import EntryKind

if TYPE_CHECKING:
    from filelock import BaseFileLock

# The version of the files of an index; a change of them raises it, and older indexes are built again.
_FORMAT = 3
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
