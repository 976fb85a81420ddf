r"""A label space of a million: all labels scored, against those that a scan in few dimensions proposes.

    python -m eval.scale --labels DIR/esco/labels.jsonl DIR/gnd/labels.jsonl \
        --texts DIR/esco/test.jsonl --sizes 200000 1000000 --name scale

Labels are made by joining the halves of two real names; encoder, index and retriever are the real ones.
Queries are encoded before the clock starts. Recall is the share of the scan's best 50 labels that proposals
give, too. Beside the scan as it is, the product of queries and entries alone is timed, block by block: no
exact scan is faster.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.record import finish, options, peak_gib
from irr.config import Settings
from irr.encoders.base import Encoder
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.index.store import open_index
from irr.infer.spans import SpanInferer
from irr.io.texts import TextRow, read_rows
from irr.labels.space import LabelSpace
from irr.retrieve.retriever import LabelRetriever
from irr.types import EntryKind, Query

TOP_K = 50
BLOCK = 8_192
SETTINGS = Settings().replace({"retrieve.fields": (EntryKind.NAME,)})


class Timed:
    """An encoder that notes how long it takes, and gives texts that it had the same vectors at no cost."""

    def __init__(self, encoder: Encoder) -> None:
        self.name = encoder.name
        self.seconds = 0.0
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What the encoder gives."""
        start = time.perf_counter()
        known = [self._known[text] for text in texts if text in self._known]
        vectors = np.stack(known) if len(known) == len(texts) else self._encoder.encode(texts)
        self.seconds += time.perf_counter() - start
        return vectors

    def remember(self, texts: Sequence[str]) -> None:
        """Encodes texts before they are asked for."""
        self._known.update(zip(texts, self._encoder.encode(texts), strict=True))


def main() -> None:
    """Measures each size and seed, prints and records."""
    parser = options(__doc__)
    parser.add_argument("--labels", type=Path, nargs="+", required=True, help="where the real names stand")
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=30, help="texts asked (default 30)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[200_000, 1_000_000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--neighbors", type=int, nargs="+", default=[SETTINGS.retrieve.neighbors])
    arguments = parser.parse_args()
    names = list(dict.fromkeys(label.name for file in arguments.labels for label in LabelSpace.read(file)))
    texts = [row.text for _, row in read_rows(arguments.texts, TextRow)]
    texts = random.Random(0).sample(texts, min(arguments.limit, len(texts)))
    figures = {
        f"{size} labels, seed {seed}": measure(names, size, seed, texts, arguments.neighbors)
        for size in arguments.sizes
        for seed in arguments.seeds
    }
    finish(figures, arguments.name)


def combined(names: Sequence[str], size: int, seed: int) -> Iterator[str]:
    """So many distinct names, each of the first half of one real name and the second half of another."""
    chance = random.Random(seed)
    seen: set[str] = set()
    while len(seen) < size:
        one, other = (chance.choice(names).split() for _ in range(2))
        name = " ".join(one[: (len(one) + 1) // 2] + other[len(other) // 2 :])
        if name not in seen:
            seen.add(name)
            yield name


def measure(
    names: Sequence[str], size: int, seed: int, texts: Sequence[str], neighbors: Sequence[int]
) -> dict[str, Any]:
    """Builds an index of that size and asks it both ways."""
    space = LabelSpace(combined(names, size, seed))
    encoder = Timed(SentenceEncoder())
    inferer = SpanInferer(SETTINGS.infer)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        index = open_index(space, encoder, SETTINGS.retrieve.fields, Path(folder))
        build = time.perf_counter() - start
        figures: dict[str, Any] = {
            "encoding_seconds": encoder.seconds,
            "build_seconds_besides_encoding": build - encoder.seconds,
            "build_peak_gib": peak_gib(),
        }
        queries = [inference.queries for inference in inferer.infer(texts)]
        encoder.remember(list({query.text for group in queries for query in group}))
        index.nearest(index.vectors[:1], 1)  # the projection is made at first use
        proposed = SETTINGS.replace({"retrieve.exact_entries": 0})
        retrievers = {
            f"proposed by {count}": LabelRetriever(
                index, encoder, proposed.replace({"retrieve.neighbors": count}).retrieve
            )
            for count in neighbors
        }
        scan = SETTINGS.replace({"retrieve.exact_entries": size})
        retrievers["scan"] = LabelRetriever(index, encoder, scan.retrieve)
        seconds, found = _ask(retrievers, queries)
        of_scan = statistics.median(seconds["scan"])
        figures["scan_seconds_a_text"] = of_scan
        figures["product_seconds_a_text"] = statistics.median(
            _product(encoder.encode([query.text for query in group]), index.vectors) for group in queries
        )
        for count in neighbors:
            way = f"proposed by {count}"
            shared = [len(a & b) / len(a) for a, b in zip(found["scan"], found[way], strict=True)]
            figures[way] = {
                "seconds_a_text": statistics.median(seconds[way]),
                "of_the_scan": statistics.median(seconds[way]) / of_scan,
                "recall_at_50": float(np.mean(shared)),
                "lowest_recall": min(shared),
            }
        figures["peak_gib"] = peak_gib()
    return figures


def _ask(
    retrievers: dict[str, LabelRetriever], queries: Sequence[Sequence[Query]]
) -> tuple[dict[str, list[float]], dict[str, list[set[str]]]]:
    """Seconds of each text and its labels, by each way; the ways take turns at every text."""
    seconds: dict[str, list[float]] = {way: [] for way in retrievers}
    found: dict[str, list[set[str]]] = {way: [] for way in retrievers}
    for retriever in retrievers.values():
        retriever.retrieve(queries[:1], TOP_K)
    for group in queries:
        for way, retriever in retrievers.items():
            start = time.perf_counter()
            candidates = retriever.retrieve([group], TOP_K)[0]
            seconds[way].append(time.perf_counter() - start)
            found[way].append({candidate.label.id for candidate in candidates})
    return seconds, found


def _product(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> float:
    """Seconds of the product of queries and entries, and of the maximum over the queries."""
    start = time.perf_counter()
    for first in range(0, len(vectors), BLOCK):
        (queries @ vectors[first : first + BLOCK].T).max(axis=0)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
