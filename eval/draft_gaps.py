"""Gaps: labels are taken out of a label space, and are to be proposed from texts again.

python -m eval.draft_gaps --data DIR                # 100 of the 691 ATT&CK techniques, all sentences
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from eval.record import record
from irr.builder import build
from irr.draft.corpus import Corpus
from irr.draft.gaps import GapOptions, find_gaps, look
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.io.texts import read_gold
from irr.labels.changes import New
from irr.labels.space import LabelSpace
from irr.text.words import clean

_FILES = ("dev", "test", "annoctr_dev", "annoctr_test", "procedures_test")
_REMOVED = 100


def measured(
    space: LabelSpace, gold: Mapping[str, set[str]], corpus: Corpus, encoder: SentenceEncoder, seed: int
) -> dict[str, Any]:
    """What is proposed when labels are missing.

    A proposal is right when a missing label is the one that most of its texts have; a label is found when
    there is such a proposal.
    """
    gone = set(random.Random(seed).sample([label.id for label in space], _REMOVED))
    texts = Counter(label for text in corpus.texts for label in gold[text])
    seen_gone = {label for label in gone if texts[label]}
    options = GapOptions()
    with tempfile.TemporaryDirectory() as folder:
        kept = LabelSpace(label for label in space if label.id not in gone)
        program = build(kept, encoder=encoder, index_folder=folder)
        seen = look(program, corpus, options)
        changes = find_gaps(program, seen, options)
    rows_of = {text: row for row, text in enumerate(corpus.texts)}
    found, right, sure = set(), [], []
    for change in changes:
        if isinstance(change, New):
            rows = [rows_of[text] for text in change.label.examples]
            most = Counter(label for row in rows for label in gold[corpus.texts[row]]).most_common(1)[0][0]
            right.append(most in gone)
            sure.append(float(seen.sure[rows].mean()))
            found |= {most} & gone
    return {
        "removed": len(gone),
        "removed_with_texts": len(seen_gone),
        "removed_with_three_texts": sum(texts[label] >= options.texts for label in gone),
        "found": len(found),
        "right_proposals": sum(right),
        "false_proposals": len(right) - sum(right),
        "auc_of_unsureness": round(float(roc_auc_score(right, -np.array(sure))), 3)
        if 0 < sum(right) < len(right)
        else None,
        "unsure_texts": int(seen.unsure.sum()),
    }


def main() -> None:
    """Measures each seed, and records all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    options = parser.parse_args()
    folder = options.data / "attack"
    space = LabelSpace.read(folder / "labels.jsonl")
    gold: dict[str, set[str]] = {}
    for file in _FILES:
        for row in read_gold(folder / f"{file}.jsonl", space):
            gold.setdefault(clean(row.text), set()).update(row.labels)
    encoder = SentenceEncoder()
    corpus = Corpus.read(gold, encoder)
    figures = {f"seed {seed}": measured(space, gold, corpus, encoder, seed) for seed in options.seeds}
    record("draft_gaps", {"texts": len(corpus), **figures})


if __name__ == "__main__":
    main()
