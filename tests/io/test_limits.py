"""Limits of what is read: bombs and files without an end are refused in one line, in little memory."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from irr.errors import LabelSpaceError, TextsError
from irr.io.streams import open_source
from irr.labels.space import LabelSpace

# Address space of the interpreter and its libraries, besides what is read.
_MEMORY = 2 * 2**30


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Labels that unpack to over 200 times their size."""
    row = json.dumps({"id": "a", "name": "x" * 2_000}).encode() + b"\n"
    path = tmp_path_factory.mktemp("bomb") / "bomb.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(150):
            file.write(row * 1_000)
    return path.read_bytes()


@pytest.mark.parametrize(
    "name", ["bomb.jsonl", "bomb.jsonl.gz", "bomb.csv", "bomb.txt", "bomb.ttl", "bomb.json"]
)
def test_a_bomb_of_labels_is_refused(tmp_path: Path, bomb: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(bomb)
    with pytest.raises(LabelSpaceError):
        LabelSpace.read(path)


def test_unpacking_stops_early(tmp_path: Path, bomb: bytes) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(bomb)
    with open_source(path, held=True) as source, pytest.raises(TextsError, match="200 times its size"):
        for _ in source.lines():
            pass


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there is no /dev/zero here")
@pytest.mark.parametrize("name", ["zero.jsonl", "zero.csv", "zero.txt", "zero.nt", "zero.ttl", "zero.rdf"])
def test_a_device_without_an_end_is_refused_in_bounded_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.symlink_to("/dev/zero")
    code = f"from irr.labels.space import LabelSpace; LabelSpace.read({str(path)!r})"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=limited, timeout=60
    )
    assert ended.returncode == 1
    assert "LabelSpaceError" in ended.stderr.splitlines()[-1], ended.stderr[-500:]
