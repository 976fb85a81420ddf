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
from irr.assembly import build
from irr.encoder import SentenceEncoder
from irr.evaluate import evaluate
from irr.labels import LabelSpace
from irr.settings import Settings
from irr.texts import read_gold
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
    "no spans": {"span_weight": 0.0},
    "no whole text": {"text_weight": 0.0},
    "generality ignored": {"span_generality": 0.0},
    "a span may mean many labels": {"span_sharing": 0.0},
    "words of names ignored": {"lexical_weight": 0.0},
    "words of all that a label says ignored": {"likeness_weight": 0.0},
    "no words at all": {"lexical_weight": 0.0, "likeness_weight": 0.0},
    "broader labels not lifted": {"broader_share": 0.0},
    "broader labels lifted wholly": {"broader_share": 1.0},
    "no margins": {"alias_margin": 0.0, "description_margin": 0.0},
    "spans of up to 5 content words": {"span_content_words": 5},
    "names and aliases": {"fields": (EntryKind.NAME, EntryKind.ALIAS)},
    "names": {"fields": (EntryKind.NAME,)},
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
            program = build(space, encoder=remembering, settings=Settings().model_copy(update=change))
            metrics = evaluate(program, rows).metrics
            found = {key: round(100 * metrics[key].mean, 1) for key in ("rp@10", "rp@50")}
            figures[row][f"{pack}/{name}"] = found
            sys.stderr.write(f"{pack}/{name} {row}: {found['rp@10']:.1f} / {found['rp@50']:.1f}\n")
    if arguments.name:
        record(arguments.name, {"rows": figures})


if __name__ == "__main__":
    main()
