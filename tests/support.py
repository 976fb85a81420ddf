"""What tests share: a small label space, and JSONL files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

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


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


Irr = Callable[..., "subprocess.CompletedProcess[str]"]
