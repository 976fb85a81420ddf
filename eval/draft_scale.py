"""The pace of a draft: so many short texts, the seconds and the memory that they take.

python -m eval.draft_scale --data DIR     # 100,000 names and aliases of ESCO skills and ICD-10 codes
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

from eval.record import peak_gib, record
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.labels.space import LabelSpace
from irr.workbench.draft.corpus import Corpus
from irr.workbench.draft.draft import DraftOptions, draft


def short_texts(data: Path) -> Iterator[str]:
    """Distinct names and aliases."""
    spaces = (LabelSpace.read(data / folder / "labels.jsonl") for folder in ("esco", "icd10"))
    names = (name for space in spaces for label in space for name in (label.name, *label.aliases))
    yield from dict.fromkeys(names)


def main() -> None:
    """Drafts a label space from many texts, and records what that took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=200)
    options = parser.parse_args()
    texts = list(itertools.islice(short_texts(options.data), options.texts))
    encoder = SentenceEncoder()
    start, busy = time.perf_counter(), time.process_time()
    corpus = Corpus.read(texts, encoder)
    encoded = time.perf_counter() - start
    drafted = draft(corpus, encoder, DraftOptions(options.size))
    record(
        "draft_scale",
        {
            "texts": len(texts),
            "labels": len(drafted.labels),
            "left_over": int((drafted.label_of < 0).sum()),
            "seconds": round(time.perf_counter() - start, 1),
            "seconds_of_encoding": round(encoded, 1),
            "cpu_seconds": round(time.process_time() - busy, 1),
            "peak_gib": round(peak_gib(), 2),
            "load_of_the_machine": os.getloadavg()[2],
        },
    )


if __name__ == "__main__":
    main()
