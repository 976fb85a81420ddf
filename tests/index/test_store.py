"""The index on real Chroma: what it holds, when it is reused, and what it is never taken for."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest
from chromadb.config import Settings

from irr.encoders.base import Encoder
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import LabelIndexError
from irr.index.store import LabelIndex, open_index, verify
from irr.labels.space import LabelSpace
from irr.types import EntryKind
from tests.doubles.hash_encoder import HashEncoder
from tests.doubles.small_disk import enlarge, mounted
from tests.support import KITCHEN

ALL = tuple(EntryKind)
NAMES = (EntryKind.NAME,)


class Watch:
    """Counts progress calls: none means that an index was reused."""

    calls = 0

    def __call__(self, done: int, total: int) -> None:
        self.calls += 1


def opened(
    space: LabelSpace, encoder: Any, root: Path, fields: tuple[EntryKind, ...] = ALL
) -> tuple[LabelIndex, bool]:
    """The index, and whether it was built anew."""
    watch = Watch()
    index = open_index(space, encoder, fields, root, watch)
    return index, watch.calls > 0


def test_chroma_holds_each_text_once(kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path) -> None:
    index, _ = opened(kitchen, encoder, tmp_path)
    (database,) = tmp_path.glob("*/chroma")
    with chromadb.PersistentClient(str(database), settings=Settings(anonymized_telemetry=False)) as client:
        (collection,) = client.list_collections()
        found = collection.get(include=["metadatas", "embeddings"])
    texts = [metadata["text"] for metadata in found["metadatas"]]
    assert sorted(texts) == sorted({index.entry_text(entry) for entry in range(len(index.vectors))})
    held = dict(zip(texts, np.asarray(found["embeddings"], np.float32), strict=True))
    for entry, vector in enumerate(index.vectors):
        np.testing.assert_array_equal(held[index.entry_text(entry)], vector)
    assert [index.entry_text(i) for i in range(3)] == [
        "bake bread",
        "make loaves",
        "Mix, knead and bake dough.",
    ]


def test_the_nearest_entries_are_those_of_a_scan(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    index, _ = opened(kitchen, encoder, tmp_path)
    queries = encoder.encode(["cleaning plates", "dough", "buying flour"])
    scan = np.argsort(-(queries @ index.vectors.T), axis=1)[:, :5]
    np.testing.assert_array_equal(index.nearest(queries, 5), scan)
    assert index.nearest(queries, 10_000).shape == (3, len(index.vectors))


class Counting:
    """An encoder, and every text that it was given."""

    def __init__(self, encoder: Encoder) -> None:
        self.name = encoder.name
        self.texts: list[str] = []
        self._encoder = encoder

    def encode(self, texts: Any) -> Any:
        self.texts += texts
        return self._encoder.encode(texts)


def same(index: LabelIndex, other: LabelIndex, passages: list[str]) -> None:
    """Asserts that two indexes are the same, bit for bit."""
    for name in ("vectors", "label_of", "kind_of"):
        np.testing.assert_array_equal(getattr(index, name), getattr(other, name))
    for passage in passages:
        np.testing.assert_array_equal(index.words(passage), other.words(passage))


def test_an_edit_encodes_what_is_new_and_gives_what_a_build_from_nothing_gives(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    counting = Counting(encoder)
    first, _ = opened(kitchen, counting, tmp_path / "kept")
    assert len(counting.texts) == len(set(counting.texts)) + 1  # the probe
    edits: list[list[Any]] = [
        [{**KITCHEN[0], "name": "repair bicycles"}, *KITCHEN[1:]],
        KITCHEN[:-1],
        KITCHEN[::-1],
        [{**label, "prior": 0.5, "parents": ["buy"]} for label in KITCHEN],
        [*KITCHEN, {"id": "more", "name": "bake bread", "aliases": ["procurement", "welding"]}],
    ]
    new = [set(), set(), set(), set(), {"welding"}]
    probes = {labels[0]["name"] for labels in [KITCHEN, *edits]}
    for labels, texts in zip(edits, new, strict=True):
        space = LabelSpace(labels)
        counting.texts.clear()
        index, _ = opened(space, counting, tmp_path / "kept")
        assert set(counting.texts) - probes == texts
        fresh, _ = opened(space, encoder, tmp_path / f"fresh {len(labels)} {labels[0]['name']}"[:40])
        same(index, fresh, ["repair bread and bicycles"])
    counting.texts.clear()
    opened(kitchen, counting, tmp_path / "kept", NAMES)
    assert set(counting.texts) == {"bake bread"}
    again, built = opened(LabelSpace(KITCHEN), counting, tmp_path / "kept")
    assert not built
    assert again.path == first.path


def test_texts_that_only_chroma_holds_are_not_encoded_again(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    counting = Counting(encoder)
    index, _ = opened(kitchen, counting, tmp_path)
    vectors = np.array(index.vectors)
    for folder in tmp_path.glob("*/spaces"):
        shutil.rmtree(folder)
    counting.texts.clear()
    index, _ = opened(kitchen, counting, tmp_path)
    assert set(counting.texts) == {"bake bread"}, "more than the probe"
    np.testing.assert_array_equal(index.vectors, vectors)


class OtherModel:
    """Another model under the same name: the same vectors turned round."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.name = encoder.name
        self._encoder = encoder

    def encode(self, texts: Any) -> Any:
        return np.roll(self._encoder.encode(texts), 1, axis=1)


def test_another_model_under_the_same_name_never_meets_old_vectors(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    opened(kitchen, encoder, tmp_path, NAMES)
    other = OtherModel(encoder)
    index, built = opened(kitchen, other, tmp_path, NAMES)
    assert built
    np.testing.assert_allclose(index.vectors[3], other.encode(["C++"])[0], atol=1e-5)


@pytest.mark.parametrize("length", [0, 60])
@pytest.mark.parametrize("damage", ["vectors.npy", "label_of.npy", "kind_of.npy", "words.npz"])
def test_a_damaged_index_is_built_again(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path, damage: str, length: int
) -> None:
    index, _ = opened(kitchen, encoder, tmp_path, NAMES)
    file = index.path / damage
    file.write_bytes(file.read_bytes()[:length])
    index, built = opened(kitchen, encoder, tmp_path, NAMES)
    assert not built, "encoded again"
    assert len(index.nearest(encoder.encode(["bread"]), 3)[0]) == 3


def test_vectors_that_a_kill_left_damaged_are_taken_from_the_indexes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = Counting(HashEncoder())
    names = [f"label {number}" for number in range(1_100)]  # so many that Chroma writes its graph
    before, _ = opened(LabelSpace(names), encoder, tmp_path, NAMES)
    (damaged,) = tmp_path.glob("*/chroma/*/index_metadata.pickle")
    damaged.write_bytes(damaged.read_bytes()[:1_000])
    encoder.texts.clear()
    after, _ = opened(LabelSpace([*names, "another"]), encoder, tmp_path, NAMES)
    assert "a kill left the vectors" in caplog.text
    assert encoder.texts.count("another") == 1
    assert not set(encoder.texts) & set(names[1:]), "encoded again"
    np.testing.assert_array_equal(after.vectors[:-1], before.vectors)
    assert all(problem == "" for _, problem in verify(tmp_path))


BUILD_SLOWLY = """
import sys, time
from pathlib import Path
from irr.encoders.base import Encoder
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.index.store import open_index
from irr.labels.space import LabelSpace

def stop_here(done, total):
    print("building", flush=True)
    time.sleep(60)

labels = LabelSpace([f"label {i}" for i in range(30)])
open_index(labels, SentenceEncoder(), [], Path(sys.argv[1]), stop_here)
"""


def test_a_killed_build_is_never_taken_for_an_index(encoder: SentenceEncoder, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", BUILD_SLOWLY, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob("*/spaces/*.building"))

    start = time.monotonic()
    index, built = opened(LabelSpace([f"label {i}" for i in range(30)]), encoder, tmp_path, NAMES)
    assert not built, "what was encoded before the kill was encoded again"
    assert time.monotonic() - start < 30, "the dead process still holds the lock"
    assert len(index.nearest(encoder.encode(["label 7"]), 5)[0]) == 5
    assert not list(tmp_path.glob("*/spaces/*.building"))


def test_a_place_that_cannot_be_written_is_named(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabelIndexError, match="index cannot be written"):
        open_index(kitchen, encoder, NAMES, tmp_path / "file" / "indexes")


@pytest.mark.parametrize("size", ["16k", "24k", "60k", "200k"])
def test_a_full_disk_is_one_line_and_with_room_the_next_call_builds(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path, size: str
) -> None:
    with mounted(tmp_path / "small", f"size={size}") as root:
        with pytest.raises(LabelIndexError, match="make room there") as caught:
            opened(kitchen, encoder, root)
        assert "\n" not in str(caught.value)
        assert not list(root.glob("*/spaces/*")), "half an index takes up room"
        enlarge(root)
        assert opened(kitchen, encoder, root)[1]


def test_waiting_for_another_process_is_said(
    kitchen: LabelSpace, encoder: SentenceEncoder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened(kitchen, encoder, tmp_path)
    (home,) = (path.parent for path in tmp_path.glob("*/chroma"))
    hold = (
        "import sys, time, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); "
        "print(1, flush=True); time.sleep(4)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(home.with_suffix(".lock"))], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout and holder.stdout.readline()
        opened(kitchen, encoder, tmp_path, NAMES)
    assert "another process builds an index" in caplog.text
