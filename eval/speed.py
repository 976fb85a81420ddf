"""Speed and memory, each against what it has to beat, in one run.

    python -m eval.speed --labels DIR/labels.jsonl --texts DIR/a_test.jsonl DIR/b_test.jsonl

Rounds of the rivals alternate, because machines drift; ratios are of medians.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.record import ROUNDS, alternate, finish, options
from irr.config import Settings
from irr.encoders.base import Encoder
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.hub import cache_folder
from irr.index.store import open_index
from irr.infer.spans import SpanInferer
from irr.io.texts import TextRow, read_rows
from irr.labels.space import LabelSpace
from irr.program.program import build
from irr.retrieve.retriever import LabelRetriever
from irr.types import EntryKind, Query, QueryKind

SETTINGS = Settings().replace({"retrieve.fields": (EntryKind.NAME,)})
REFERENCE_QUERIES = 5


class Remembered:
    """An encoder that has encoded everything before, so that only what follows is timed."""

    def __init__(self, encoder: Encoder, texts: Sequence[str]) -> None:
        self.name = encoder.name
        self._vectors = dict(zip(texts, encoder.encode(texts), strict=True))

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Looks the vectors up."""
        return np.stack([self._vectors[text] for text in texts])


def main() -> None:
    """Measures, prints and records."""
    parser = options(__doc__)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--limit", type=int, default=100, help="texts of each set (default 100)")
    arguments = parser.parse_args()
    space = LabelSpace.read(arguments.labels)
    texts = [
        row.text for path in arguments.texts for _, row in list(read_rows(path, TextRow))[: arguments.limit]
    ]
    encoder = SentenceEncoder()
    figures = {
        "texts": len(texts),
        "against_plain_loop": against_plain_loop(space, texts, encoder),
        "against_reference": against_reference(space, texts, encoder),
        "whole_process": whole_process(arguments.labels, arguments.texts[0]),
    }
    finish(figures, arguments.name)


def against_plain_loop(space: LabelSpace, texts: Sequence[str], encoder: SentenceEncoder) -> dict[str, float]:
    """The whole job against a loop that encodes all windows of a text and scores them with numpy."""
    from sentence_transformers import SentenceTransformer

    from irr.encoders.sentence_transformers import model_folder

    program = build(space, encoder=encoder, settings=SETTINGS)
    model = SentenceTransformer(str(model_folder(encoder.name)))
    labels = model.encode([label.name for label in space], normalize_embeddings=True)

    def plain() -> None:
        for text in texts:
            words = re.findall(r"\S+", text)
            windows = [
                " ".join(words[i : i + n]) for n in range(1, 6) for i in range(max(0, len(words) - n + 1))
            ]
            vectors = model.encode([text, *windows], normalize_embeddings=True, show_progress_bar=False)
            scores = vectors @ labels.T
            np.argsort(-(0.7 * scores[0] + scores[1:].max(axis=0)))[:50]

    def ours() -> None:
        for _ in program.batch(texts, top_k=50):
            pass

    seconds = alternate({"irr": ours, "plain_loop": plain})
    rates = {name: len(texts) / value for name, value in seconds.items()}
    return {**rates, "ratio": rates["irr"] / rates["plain_loop"]}


def against_reference(space: LabelSpace, texts: Sequence[str], encoder: SentenceEncoder) -> dict[str, float]:
    """The part after encoding, against the work of the paper's retriever on five queries a text.

    That is: the similarity of each query to every label, the best of them for each label, all labels sorted.
    """
    import torch
    from sentence_transformers.util import semantic_search

    inferer = SpanInferer(SETTINGS.infer)
    spans = [inference.queries for inference in inferer.infer(texts)]
    five = [
        [Query(text=text, kind=QueryKind.TEXT), *[q for q in group if q.kind is QueryKind.SPAN]][
            :REFERENCE_QUERIES
        ]
        for text, group in zip(texts, spans, strict=True)
    ]
    distinct = list(dict.fromkeys(q.text for groups in (spans, five) for group in groups for q in group))
    remembered = Remembered(encoder, distinct)
    index = open_index(space, encoder, SETTINGS.retrieve.fields, cache_folder("indexes"))
    retriever = LabelRetriever(index, remembered, SETTINGS.retrieve)
    labels = torch.from_numpy(np.array(index.vectors))
    vectors = [torch.from_numpy(remembered.encode([query.text for query in group])) for group in five]

    def reference() -> None:
        for group in vectors:
            best: dict[str, float] = {}
            for found in semantic_search(group, labels, top_k=len(space)):
                for hit in found:
                    name = space[int(hit["corpus_id"])].name
                    best[name] = max(best.get(name, -1.0), float(hit["score"]))
            sorted(best.items(), key=lambda item: -item[1])

    seconds = alternate(
        {
            "irr_five_queries": lambda: retriever.retrieve(five, 50),
            "irr_all_spans": lambda: retriever.retrieve(spans, 50),
            "reference": reference,
        }
    )
    rates = {name: len(texts) / value for name, value in seconds.items()}
    ratios = {f"ratio_{k}": rates[k] / rates["reference"] for k in ("irr_five_queries", "irr_all_spans")}
    return {**rates, **ratios}


def whole_process(labels: Path, texts: Path) -> dict[str, Any]:
    """Start-up, memory and time of the commands, each in a process of its own."""
    one = json.dumps({"id": "1", "text": "You will bake bread and plan menus."})
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        call = [
            "-m",
            "irr",
            "classify",
            "--labels",
            str(labels),
            "--fields",
            "name",
            "--index-folder",
            folder,
        ]
        build_run = _run([*call, "--input", str(texts), "--output", str(fresh / "out.jsonl")])
        again = [_run([*call, "--input", "-", "--output", "-"], one) for _ in range(ROUNDS)]
        imports = [_run(["-c", "import irr"]) for _ in range(ROUNDS)]
    return {
        "peak_memory_gib_index_and_classify": build_run[1],
        "second_run_one_text_seconds": statistics.median(s for s, _ in again),
        "import_irr_seconds": statistics.median(s for s, _ in imports),
    }


def _run(arguments: Sequence[str], stdin: str = "") -> tuple[float, float]:
    """Seconds and peak memory in GiB of a Python process."""
    code = (
        "import resource, subprocess, sys, time\n"
        "start = time.perf_counter()\n"
        "subprocess.run(sys.argv[1:], input=sys.stdin.read().encode(), capture_output=True, check=True)\n"
        "print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, sys.executable, *arguments]
    output = subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout
    seconds, kilobytes = output.split()
    return float(seconds), int(kilobytes) / 2**20


if __name__ == "__main__":
    main()
