"""Bytes damaged, compressed, or blown up to a bomb."""

from __future__ import annotations

import gzip
import io
import random
import sys
from typing import Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# The unpacked size of a bomb.
_BOMB_BYTES = 3 * 2**30


def torn(draw: random.Random, content: bytes) -> bytes:
    """The same bytes with some cut, flipped, doubled or put in."""
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(content) + 1)
        length = draw.choice((1, 4, 40, len(content) // 2))
        match draw.randrange(5):
            case 0:
                content = content[:at]
            case 1:
                content = content[:at] + draw.randbytes(min(length, 40)) + content[at:]
            case 2:
                content = content[:at] + content[at + length :]
            case 3:
                content = content[:at] + content[at : at + length] + content[at:]
            case _:
                flipped = bytes(b ^ (1 << draw.randrange(8)) for b in content[at : at + min(length, 4)])
                content = content[:at] + flipped + content[at + len(flipped) :]
    return content


def packed(draw: random.Random, content: bytes, suffix: str) -> bytes:
    """A `.gz` or `.zst` file of these bytes, sometimes torn or not compressed."""
    if draw.random() < 0.15:
        return content
    made = gzip.compress(content, 1) if suffix == ".gz" else zstd.compress(content)
    return torn(draw, made) if draw.random() < 0.3 else made


def bomb(suffix: str, line: bytes) -> bytes:
    """Some kilobytes that unpack to gigabytes: zeros, or one line many times."""
    chunk = (line or b"\0") * (2**20 // max(1, len(line)))
    out = io.BytesIO()
    packer: Any = (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) if suffix == ".gz" else zstd.ZstdFile(out, "w")
    )
    with packer:
        for _ in range(_BOMB_BYTES // len(chunk)):
            packer.write(chunk)
    return out.getvalue()


def entities() -> str:
    """A document type whose entities expand a billionfold."""
    levels = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    return f'<!DOCTYPE x [<!ENTITY l0 "ha">{levels}]>'
