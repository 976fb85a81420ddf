"""What tests share: the real encoder, a small label space, and the command as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from irr.builder import build
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.labels.space import LabelSpace
from irr.pipeline import InferRetrieveRank

KITCHEN = [
    {
        "id": "bake",
        "name": "bake bread",
        "aliases": ["make loaves"],
        "description": "Mix, knead and bake dough.",
    },
    {"id": "cook", "name": "cook meals, for groups", "description": "Prepare hot food for many guests."},
    {"id": "wash", "name": 'wash "dirty" dishes', "aliases": ["clean plates and cutlery"]},
    {"id": "cpp", "name": "C++"},
    {"id": "buy", "name": "order supplies", "aliases": ["purchase ingredients", "procurement"]},
    {"id": "zh", "name": "包饺子 (dumplings)"},
    {"id": "plan", "name": "plan menus", "parents": ["cook"], "prior": 0.5},
    {"id": "staff", "name": "supervise kitchen staff"},
]


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


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


Irr = Callable[..., "subprocess.CompletedProcess[str]"]


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
