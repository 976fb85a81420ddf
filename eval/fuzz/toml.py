"""Task packs as TOML files."""

from __future__ import annotations

import json
import random
from typing import Any

from eval.fuzz.values import Row, string, value, words


def toml(draw: random.Random) -> bytes:
    """A task pack: right ones, odd values, and shapes that parsers choke on."""
    task: Row = {
        "title": words(draw),
        "text": "ad",
        "label": "skill",
        "labels": "skills",
        "notes": words(draw),
    }
    infer, rank = {"instructions": words(draw)}, {"instructions": words(draw), "question": "Right?"}
    demos = [{"text": string(draw), "terms": [words(draw)]} for _ in range(draw.randrange(3))]
    if draw.random() < 0.7:
        part = draw.choice((task, infer, rank, *demos))
        part[draw.choice((*part, "extra"))] = draw.choice((string(draw), value(draw)))
    lines = [_assignments(task), "[infer]", _assignments(infer), "[rank]", _assignments(rank)]
    lines += [f"[[demos]]\n{_assignments(demo)}" for demo in demos]
    if draw.random() < 0.1:
        lines.insert(0, draw.choice(_TOML_SHAPES))
    return "\n".join(lines).encode("utf-8", "replace")


_TOML_SHAPES = (
    "a = " + "[" * 20_000,
    ".".join("a" * 20_000) + " = 1",
    "a = 1\na.b = 2",
    "x = " + "{a=" * 2_000,
    "d = 9999-99-99",
    'notes = """',
)


def _assignments(table: Row) -> str:
    return "\n".join(f"{json.dumps(key)} = {_toml_value(content)}" for key, content in table.items())


def _toml_value(content: Any) -> str:
    match content:
        case bool():
            return str(content).lower()
        case int() | float():
            return repr(content)
        case list():
            return "[" + ", ".join(map(_toml_value, content)) + "]"
        case dict():
            return (
                "{"
                + ", ".join(f"{json.dumps(key)} = {_toml_value(item)}" for key, item in content.items())
                + "}"
            )
        case _:
            return json.dumps("" if content is None else content, ensure_ascii=False)
