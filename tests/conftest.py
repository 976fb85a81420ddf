"""What tests share: the real encoder, a small label space, and the command as a user runs it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.labels.space import LabelSpace
from irr.lm.packaged import packaged_folder
from irr.program.program import InferRetrieveRank, build
from tests.support import KITCHEN, Irr, run_here, run_process, write_jsonl

os.environ["COLUMNS"] = "160"  # read when the consoles are made
# Servers of tests end with connections open, which asyncio reports whenever it collects them.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)

# The same inputs in every run; `make fuzz` looks for new ones.
settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
settings.register_profile("explore", max_examples=1_000, deadline=None, print_blob=True)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def encoder() -> SentenceEncoder:
    return SentenceEncoder()


@pytest.fixture(scope="session")
def kitchen() -> LabelSpace:
    return LabelSpace(KITCHEN)


@pytest.fixture(scope="session")
def index_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("indexes")


@pytest.fixture(scope="session")
def program(kitchen: LabelSpace, encoder: SentenceEncoder, index_folder: Path) -> InferRetrieveRank:
    return build(kitchen, encoder=encoder, index_folder=index_folder)


@pytest.fixture(scope="session")
def labels_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("labels") / "kitchen.jsonl", KITCHEN)


@pytest.fixture
def irr(index_folder: Path, encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch) -> Irr:
    """Runs `irr ARGUMENTS` with the modules and the encoder that are loaded, which saves seconds a call."""
    monkeypatch.setenv("IRR_INDEX_FOLDER", str(index_folder))
    return lambda *arguments, stdin="": run_here(list(map(str, arguments)), stdin)


@pytest.fixture
def irr_process(index_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Irr:
    """Runs `irr ARGUMENTS` in a process of its own, for what only a process has."""
    monkeypatch.setenv("IRR_INDEX_FOLDER", str(index_folder))
    return lambda *arguments, stdin=None: run_process(list(map(str, arguments)), stdin)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small model, converted once for all processes of a run, in a folder of its own."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IRR_MODEL_FOLDER", str(shared / "models"))
        yield packaged_folder()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")
    with sync_api.sync_playwright() as playwright:
        # Containers have neither a sandbox of its own kind nor much shared memory.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        chromium = playwright.chromium.launch(executable_path=program, args=arguments)
        yield chromium
        chromium.close()
