"""What each setting is worth: the defaults with one of them changed, on dev sets; a query is encoded once.

python -m eval.ablations --data DIR --name dev/ablations
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.record import record
from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.evaluate.evaluate import evaluate
from irr.io.texts import read_gold
from irr.labels.space import LabelSpace
from irr.program.program import build
from irr.types import EntryKind

SETS = (
    ("esco", "house_dev"),
    ("esco", "tech_dev"),
    ("attack", "annoctr_dev"),
    ("attack", "dev"),
    ("clinc150", "dev"),
)
ROWS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "no spans": {"retrieve.span_weight": 0.0},
    "no whole text": {"retrieve.text_weight": 0.0},
    "generality ignored": {"retrieve.hubness_penalty": 0.0},
    "a span may mean many labels": {"retrieve.redundancy_penalty": 0.0},
    "words of names ignored": {"retrieve.name_recall_weight": 0.0},
    "words of all that a label says ignored": {"retrieve.word_cosine_weight": 0.0},
    "no words at all": {"retrieve.name_recall_weight": 0.0, "retrieve.word_cosine_weight": 0.0},
    "broader labels not lifted": {"retrieve.parent_share": 0.0},
    "broader labels lifted wholly": {"retrieve.parent_share": 1.0},
    "no margins": {"retrieve.alias_margin": 0.0, "retrieve.description_margin": 0.0},
    "spans of up to 5 content words": {"infer.span_content_words": 5},
    "names and aliases": {"retrieve.fields": (EntryKind.NAME, EntryKind.ALIAS)},
    "names": {"retrieve.fields": (EntryKind.NAME,)},
}
# Their labels have names only.
_NAMED = {"clinc150"}


class Remembering:
    """An encoder that encodes a text once."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.name = encoder.name
        self._encoder = encoder
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), dimensions)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._known[text] for text in texts])


def main() -> None:
    """Evaluates each row on each set, says so on stderr as it goes, and records it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of packs: esco, attack, ...")
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()

    encoder = SentenceEncoder()
    figures: dict[str, dict[str, dict[str, float]]] = {row: {} for row in ROWS}
    for pack, name in SETS:
        space = LabelSpace.read(arguments.data / pack / "labels.jsonl")
        rows = read_gold(arguments.data / pack / f"{name}.jsonl", space)
        remembering = Remembering(encoder)
        for row, change in ROWS.items():
            if pack in _NAMED and "fields" in change:
                continue
            program = build(space, encoder=remembering, settings=Settings().replace(change))
            metrics = evaluate(program, rows).metrics
            found = {key: round(100 * metrics[key].mean, 1) for key in ("rp@10", "rp@50")}
            figures[row][f"{pack}/{name}"] = found
            sys.stderr.write(f"{pack}/{name} {row}: {found['rp@10']:.1f} / {found['rp@50']:.1f}\n")
    if arguments.name:
        record(arguments.name, {"rows": figures})


if __name__ == "__main__":
    main()
