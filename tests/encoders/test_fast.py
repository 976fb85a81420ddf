"""The fast engine: the model's own vectors, made once, never half, and without torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irr.encoders import engines
from irr.encoders.base import DEFAULT_ENCODER
from irr.encoders.engines import TorchEngine
from irr.encoders.sentence_transformers import SentenceEncoder, model_folder
from irr.hub import file_revision, weights_revision

SOURCE = model_folder(DEFAULT_ENCODER)
TEXTS = [
    "bake bread",
    "",
    "  clean\nplates ",
    "Überprüfung",
    "面包烘焙",
    "C++",
    "dough " * 400,
    "knead dough",
]


@pytest.fixture(scope="module")
def model() -> TorchEngine:
    return TorchEngine(DEFAULT_ENCODER, SOURCE, "cpu")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with the first of its layers alone, which takes a quarter of the time to export."""
    module = TorchEngine(DEFAULT_ENCODER, SOURCE, "cpu").module
    inner = module[0].auto_model
    inner.encoder.layer = inner.encoder.layer[:1]
    inner.config.num_hidden_layers = 1
    folder = tmp_path_factory.mktemp("models") / "small"
    module.save(str(folder))
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, in which no engine stands yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "irr" / "encoders"


def test_it_gives_the_vectors_of_the_model(encoder: SentenceEncoder, model: TorchEngine) -> None:
    assert encoder.is_fast
    np.testing.assert_allclose(encoder.encode(TEXTS), model.encode(TEXTS), atol=1e-5)
    assert encoder.encode([]).shape == (0, 384)


def test_a_text_gets_the_same_bits_alone_and_among_others(encoder: SentenceEncoder) -> None:
    texts = [f"{word} {'and more ' * n}" for n in range(12) for word in ("bread", "soup", "tart")]
    together = encoder.encode(texts)
    np.testing.assert_array_equal(together, np.concatenate([encoder.encode([text]) for text in texts]))
    np.testing.assert_array_equal(together, encoder.encode(texts[::-1])[::-1])


def test_threads_share_one(encoder: SentenceEncoder) -> None:
    alone = encoder.encode(TEXTS)
    results: list[Any] = [None] * 8
    threads = [
        threading.Thread(target=lambda i=i: results.__setitem__(i, encoder.encode(TEXTS))) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, alone)


def test_the_revision_is_that_of_the_weights_however_they_are_read(
    model: TorchEngine, tmp_path: Path
) -> None:
    assert SOURCE
    assert file_revision(SOURCE) == weights_revision(model.module)
    other = shutil.copytree(SOURCE, tmp_path / "model")
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    assert file_revision(other) != file_revision(SOURCE)
    (other / "model.safetensors").unlink()
    assert file_revision(other) is None


def test_it_is_made_once_and_made_again_where_it_is_damaged(
    small: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = SentenceEncoder(str(small)).encode(TEXTS)
    assert "once" in caplog.text
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    caplog.clear()
    np.testing.assert_array_equal(SentenceEncoder(str(small)).encode(TEXTS), first)
    assert not caplog.text
    (folder / "model.onnx").write_bytes(b"oops")
    np.testing.assert_array_equal(SentenceEncoder(str(small)).encode(TEXTS), first)
    assert "damaged" in caplog.text


def test_a_model_that_it_cannot_match_encodes_by_itself(
    small: Path, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = shutil.copytree(small, tmp_path / "prompted")
    about = json.loads((other / "config_sentence_transformers.json").read_text())
    about |= {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    (other / "config_sentence_transformers.json").write_text(json.dumps(about))
    encoder = SentenceEncoder(str(other))
    assert not encoder.is_fast
    assert "has no fast engine" in caplog.text
    plain = TorchEngine(str(small), small, "cpu")
    np.testing.assert_allclose(encoder.encode(["bread"]), plain.encode(["query: bread"]), atol=1e-5)
    caplog.clear()
    assert not SentenceEncoder(str(other)).is_fast
    assert not caplog.text, "said again, or tried again"


def test_a_cache_that_cannot_be_written_is_named_and_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    encoder = SentenceEncoder()
    assert not encoder.is_fast
    assert "cannot be made" in caplog.text
    assert encoder.encode(["bread"]).shape == (1, 384)


def test_without_its_packages_torch_encodes_and_one_line_names_the_extra(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    engines._recommend_packages.cache_clear()
    for _ in range(2):
        other = SentenceEncoder()
        assert not other.is_fast
        assert other.revision == encoder.revision
        np.testing.assert_allclose(other.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)
    (record,) = [record for record in caplog.records if record.name.startswith("irr")]
    assert "pip install 'irr[fast]'" in record.getMessage()


LOADED = """
import json, sys
from irr.cli import main
for call in json.loads(sys.argv[1]):
    sys.argv = ["irr", *call]
    try:
        main()
    except SystemExit as end:
        print("code", end.code, file=sys.stderr)
print("loaded", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def test_commands_load_nothing_that_they_do_without(
    labels_file: Path, index_folder: Path, program: Any, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"id": "1", "text": "bread", "labels": ["bake"]}\n')
    labels = ["--labels", str(labels_file)]
    calls = [
        ["classify", *labels, "--input", str(rows), "--output", "-"],
        ["inspect", *labels, "--text", "bread"],
        ["eval", *labels, "--gold", str(rows)],
    ]
    run = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(calls)],
        env={**os.environ, "IRR_INDEX_FOLDER": str(index_folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stderr.count("code 0") == len(calls), run.stderr
    loaded = set(run.stderr.split("loaded ")[1].split())
    assert not loaded & {"torch", "transformers", "sklearn", "sentence_transformers", "dspy", "chromadb"}
