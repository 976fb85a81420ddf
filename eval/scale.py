"""Where Chroma's graph overtakes a scan of all entries: seconds a text, memory and recall by size.

    python -m eval.scale --sizes 50000 200000 --name scale

The labels are made up and so are their vectors (noise around 2,000 centres, which is harder for a graph than
evenly spread points); index and retriever are the real ones.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.record import record
from irr.config import Settings
from irr.index.store import open_index
from irr.labels.space import LabelSpace
from irr.retrieve.retriever import LabelRetriever
from irr.types import EntryKind, Query, QueryKind

TEXTS = 20
SPANS = 30
SETTINGS = Settings().replace({"retrieve.fields": (EntryKind.NAME,)})
_CENTRES = np.random.default_rng(0).normal(size=(2_000, 384)).astype(np.float32)


class MadeUp:
    """Unit vectors that depend on nothing but the text's characters."""

    name = "made-up"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Noise around a centre, both chosen by a checksum of the text."""
        vectors = np.empty((len(texts), 384), np.float32)
        for row, text in enumerate(texts):
            seed = zlib.crc32(text.encode())
            noise = np.random.default_rng(seed).normal(size=384)
            vectors[row] = _CENTRES[seed % len(_CENTRES)] + noise
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def main() -> None:
    """Measures each size, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()
    figures = {f"{size}": measure(size) for size in arguments.sizes}
    print(json.dumps(figures, indent=2))
    if arguments.name:
        record(arguments.name, figures)


def measure(size: int) -> dict[str, Any]:
    """Builds an index of that size and asks it by scan and by graph."""
    space = LabelSpace(f"label number {i}" for i in range(size))
    encoder = MadeUp()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        index = open_index(space, encoder, SETTINGS.retrieve.fields, Path(folder))
        build_seconds = time.perf_counter() - start
        queries = [
            [Query(text=f"text {t} span {s}", kind=QueryKind.SPAN) for s in range(SPANS)]
            for t in range(TEXTS)
        ]
        found: dict[str, list[set[str]]] = {}
        seconds: dict[str, float] = {}
        for way, limit in (("scan", size), ("graph", 0)):
            retriever = LabelRetriever(index, encoder, SETTINGS.replace({"retrieve.exact_entries": limit}))
            retriever.retrieve(queries[:1], 50)
            start = time.perf_counter()
            candidates = retriever.retrieve(queries, 50)
            seconds[way] = (time.perf_counter() - start) / TEXTS
            found[way] = [{c.label.id for c in group} for group in candidates]
    shared = [len(a & b) / len(a) for a, b in zip(found["scan"], found["graph"], strict=True)]
    return {
        "build_seconds": build_seconds,
        "scan_seconds_a_text": seconds["scan"],
        "graph_seconds_a_text": seconds["graph"],
        "graph_share_of_top_50": float(np.mean(shared)),
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


if __name__ == "__main__":
    main()
