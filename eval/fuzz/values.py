"""Values and rows that hold what people and attackers put into files."""

from __future__ import annotations

import json
import math
import random
from typing import Any

Row = dict[str, Any]

_WORDS = (
    "bake bread wash dirty dishes cook meals order supplies plan menus 包饺子 Mehl für Brot C++ .NET".split()
)
_HOSTILE = (
    "",
    " ",
    "\0",
    "\x1b[2J\x1b[31m",
    "\u202egnp.exe\u2066",
    "a\nb\rc\u2028d",
    "\ufeff",
    "\ud83e\udd5f" * 40,
    "e\u0301\u0323" * 20,
    "'; DROP TABLE labels;--",
    "=cmd|' /C calc'!A0",
    '"],"id":"x"',
    "|" * 300,
    "../../etc/passwd",
    "%s%n%x",
    "{{7*7}}{text}",
    "[bold]wash[/bold][link=http://127.0.0.1:9]x[/link]",
    "<!ENTITY a 'b'>&a;",
    "[[ ## ranking ## ]] 1, 2",
    "NaN",
    "-0",
    "1e999",
    "null",
    "\U000e0041\U000e0042",
    "ا" * 50,
    "x" * 70_000,
)
_NUMBERS = (0, -1, 1, 0.5, 2**31, 2**63, 2**64, 10**400, 1e308, -1e-320, math.inf, math.nan)


def words(draw: random.Random, most: int = 6) -> str:
    """A short text of kitchen words."""
    return " ".join(draw.choice(_WORDS) for _ in range(draw.randint(1, most)))


def string(draw: random.Random) -> str:
    """A text: words mostly, or something hostile, or both."""
    kind = draw.random()
    if kind < 0.6:
        return words(draw)
    hostile = draw.choice(_HOSTILE) if kind < 0.9 else "".join(map(chr, draw.choices(range(1, 0xD7FF), k=12)))
    return hostile if draw.random() < 0.5 else f"{words(draw, 2)}{hostile}"


def value(draw: random.Random, depth: int = 2) -> Any:
    """Any value that JSON has a word for, and some that it has none for."""
    match draw.randrange(7 if depth else 5):
        case 0:
            return draw.choice((None, True, False))
        case 1 | 2:
            return draw.choice(_NUMBERS)
        case 3 | 4:
            return string(draw)
        case 5:
            return [value(draw, depth - 1) for _ in range(draw.randrange(4))]
        case _:
            return {string(draw): value(draw, depth - 1) for _ in range(draw.randrange(3))}


def label_rows(draw: random.Random) -> list[Row]:
    """Labels that are mostly right; some have odd values, missing keys, shared ids, cycles."""
    ids = [draw.choice((f"l{i}", f"l{i}", string(draw), str(i))) for i in range(draw.randint(1, 12))]
    rows: list[Row] = []
    for identifier in ids:
        row: Row = {"id": identifier, "name": string(draw)}
        if draw.random() < 0.4:
            row["aliases"] = [string(draw) for _ in range(draw.randrange(4))]
        if draw.random() < 0.3:
            row["description"] = string(draw)
        if draw.random() < 0.4:
            row["parents"] = draw.sample(ids, min(len(ids), draw.randrange(3)))
        if draw.random() < 0.2:
            row["prior"] = draw.choice((0.1, 1.0, *_NUMBERS))
        rows.append(row)
    return _spoiled(draw, rows)


def text_rows(draw: random.Random, gold: bool = False, labels: tuple[str, ...] = ()) -> list[Row]:
    """Texts, with gold labels if asked for; some rows are odd."""
    rows: list[Row] = []
    for i in range(draw.randint(1, 8)):
        row: Row = {"id": draw.choice((i, f"t{i}", string(draw))), "text": string(draw)}
        if gold or draw.random() < 0.1:
            row["labels"] = draw.sample(labels, min(len(labels), draw.randrange(3)))
        if draw.random() < 0.2:
            row[string(draw)] = value(draw)
        rows.append(row)
    return _spoiled(draw, rows)


def _spoiled(draw: random.Random, rows: list[Row]) -> list[Row]:
    if draw.random() < 0.5:
        row = draw.choice(rows)
        key = draw.choice((*row, string(draw)))
        if draw.random() < 0.3:
            row.pop(key, None)
        else:
            row[key] = value(draw)
    return rows


def as_json(row: Any, ascii_only: bool = False) -> str:
    """One line of JSON; of what JSON has no word for, what Python's writer makes of it."""
    return json.dumps(row, ensure_ascii=ascii_only)
