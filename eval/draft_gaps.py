"""Gaps: labels are taken out of a label space, and are to be proposed from texts again.

python -m eval.draft_gaps --data DIR                # 100 of the 691 ATT&CK techniques, all sentences
python -m eval.draft_gaps --data DIR --examples 0.5 # half of them are examples of the labels that stay
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eval.record import record
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.io.texts import read_gold
from irr.labels.changes import New
from irr.labels.space import LabelSpace
from irr.program.program import build
from irr.text.words import clean
from irr.types import Example
from irr.workbench.draft.clusters import tight
from irr.workbench.draft.corpus import Corpus
from irr.workbench.draft.gaps import GapOptions, find_gaps, look

_FILES = ("dev", "test", "annoctr_dev", "annoctr_test", "procedures_test")
_REMOVED = 100


class Texts(NamedTuple):
    """Texts to find gaps with, examples of the labels, and the gold of both."""

    corpus: Corpus
    examples: Corpus
    gold: Mapping[str, set[str]]


def measured(space: LabelSpace, texts: Texts, encoder: SentenceEncoder, seed: int) -> dict[str, Any]:
    """What is proposed when labels are missing.

    A proposal is right when a missing label is the one that most of its texts have; a label is found when
    there is such a proposal. It is within reach when most texts of a coherent cluster have it.
    """
    corpus, gold = texts.corpus, texts.gold
    gone = set(random.Random(seed).sample([label.id for label in space], _REMOVED))
    counts = Counter(label for text in corpus.texts for label in gold[text])
    options = GapOptions()
    examples = [
        Example(text=text, labels=tuple(sorted(gold[text] - gone)))
        for text in texts.examples.texts
        if gold[text] - gone
    ]
    with tempfile.TemporaryDirectory() as folder:
        kept = LabelSpace(label for label in space if label.id not in gone)
        program = build(kept, encoder=encoder, examples=examples, index_folder=folder)
        seen = look(program, corpus, options)
        changes = find_gaps(program, seen, options)
    clusters = [
        [corpus.texts[row] for row in rows] for rows in tight(corpus.vectors, options.coherent, options.texts)
    ]
    proposed = [_most(change.label.examples, gold) for change in changes if isinstance(change, New)]
    right = sum(label in gone for label in proposed)
    best = [kept[int(number)].id for number in seen.best]
    first = [label in gold[text] for label, text in zip(best, corpus.texts, strict=True) if gold[text] - gone]
    return {
        "removed": len(gone),
        "removed_with_texts": sum(counts[label] >= 1 for label in gone),
        "removed_with_two_texts": sum(counts[label] >= 2 for label in gone),
        "removed_with_three_texts": sum(counts[label] >= 3 for label in gone),
        "within_reach": len(gone & {_most(cluster, gold) for cluster in clusters}),
        "found": len(gone & set(proposed)),
        "right_proposals": right,
        "false_proposals": len(proposed) - right,
        "examples": len(examples),
        "first_label_right": round(float(np.mean(first)), 3),
    }


def _most(texts: Sequence[str], gold: Mapping[str, set[str]]) -> str:
    """The label that most of the texts have."""
    return Counter(label for text in texts for label in sorted(gold[text])).most_common(1)[0][0]


def main() -> None:
    """Measures each seed, and records all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument(
        "--examples", type=float, default=0.0, help="the share of the texts that are examples"
    )
    parser.add_argument("--name", default="draft_gaps", help="record the result under this name")
    options = parser.parse_args()
    folder = options.data / "attack"
    space = LabelSpace.read(folder / "labels.jsonl")
    gold: dict[str, set[str]] = {}
    for file in _FILES:
        for row in read_gold(folder / f"{file}.jsonl", space):
            gold.setdefault(clean(row.text), set()).update(row.labels)
    encoder = SentenceEncoder()
    corpus = Corpus.read(gold, encoder)
    figures: dict[str, Any] = {"share_of_examples": options.examples}
    for seed in options.seeds:
        shown = np.random.default_rng(seed).random(len(corpus)) < options.examples
        texts = Texts(corpus.part(np.flatnonzero(~shown)), corpus.part(np.flatnonzero(shown)), gold)
        figures[f"seed {seed}"] = {"texts": len(texts.corpus), **measured(space, texts, encoder, seed)}
        record(options.name, figures)


if __name__ == "__main__":
    main()
