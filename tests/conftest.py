"""What tests share: the real encoder, a small label space, and the command as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from irr.builder import build
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.labels.space import LabelSpace
from irr.pipeline import InferRetrieveRank
from tests.support import KITCHEN, Irr, write_jsonl

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
def irr(index_folder: Path) -> Irr:
    """Runs `irr ARGUMENTS` in a process of its own."""

    def run(*arguments: object, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "irr", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={**os.environ, "IRR_INDEX_FOLDER": str(index_folder), "COLUMNS": "160"},
            timeout=300,
        )

    return run
