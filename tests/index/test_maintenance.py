"""Indexes are listed, compared with Chroma, and pruned; a real Chroma server can hold their vectors."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import LabelIndexError
from irr.index.store import list_indexes, open_index, prune, verify
from irr.labels.space import LabelSpace
from irr.program.program import build
from irr.types import EntryKind
from tests.support import KITCHEN, Irr

ALL = tuple(EntryKind)


def test_what_is_kept_is_listed_verified_and_pruned(
    encoder: SentenceEncoder, kitchen: LabelSpace, tmp_path: Path
) -> None:
    whole = open_index(kitchen, encoder, ALL, tmp_path)
    open_index(LabelSpace(["weld pipes"]), encoder, ALL, tmp_path)
    assert sorted((index.labels, index.entries) for index in list_indexes(tmp_path)) == [
        (1, 1),
        (len(KITCHEN), len(whole.vectors)),
    ]
    assert [problem for _, problem in verify(tmp_path)] == ["", ""]
    assert prune(tmp_path, days=1) == (0, 0)

    old = next(index for index in list_indexes(tmp_path) if index.labels == 1)
    os.utime(old.path / "index.json", (0, 0))
    assert prune(tmp_path, days=30) == (1, 1)
    assert [problem for _, problem in verify(tmp_path)] == [""]
    np.testing.assert_array_equal(open_index(kitchen, encoder, ALL, tmp_path).vectors, whole.vectors)
    prune(tmp_path, days=0)
    assert not list_indexes(tmp_path)
    assert not list(tmp_path.glob("*/chroma"))


def test_a_vector_that_changed_is_found(
    encoder: SentenceEncoder, kitchen: LabelSpace, tmp_path: Path, irr: Irr
) -> None:
    index = open_index(kitchen, encoder, ALL, tmp_path)
    file = index.path / "vectors.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    run = irr("index", "verify", "--index-folder", tmp_path)
    assert run.returncode == 1
    assert "1 of its vectors are not those in Chroma" in run.stdout
    assert irr("index", "--index-folder", tmp_path).returncode == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Chroma server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "chroma"), "run", "--host", "127.0.0.1", "--port", str(port)]
    folder = tmp_path_factory.mktemp("chroma")
    process = subprocess.Popen(
        [*command, "--path", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


def test_a_server_holds_the_vectors_for_many(
    server: str, encoder: SentenceEncoder, kitchen: LabelSpace, tmp_path: Path
) -> None:
    asked: list[int] = []

    def progress(done: int, total: int) -> None:
        asked.append(total)

    first = open_index(kitchen, encoder, ALL, tmp_path / "one", progress, server)
    assert asked
    asked.clear()
    other = open_index(kitchen, encoder, ALL, tmp_path / "another machine", progress, server)
    assert not asked, "encoded again"
    np.testing.assert_array_equal(first.vectors, other.vectors)
    program = build(kitchen, encoder=encoder, index_folder=tmp_path / "three", index_server=server)
    assert program("You will bake bread").labels[0].id == "bake"


def test_a_server_that_is_not_there_is_named(
    encoder: SentenceEncoder, kitchen: LabelSpace, tmp_path: Path, irr: Irr
) -> None:
    with pytest.raises(LabelIndexError, match="start a Chroma server"):
        open_index(kitchen, encoder, ALL, tmp_path, server="http://127.0.0.1:9")
    run = irr("inspect", "--labels", "none.jsonl", "--text", "a", "--index", "here")
    assert run.returncode == 2
