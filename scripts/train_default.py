"""Makes the weights that come with the package, from the dev sets of all packs.

python -m scripts.train_default --data DIR

Few features, with weights on a grid: weights of all features, fitted by their likelihood, served a pack
without its own texts less well.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean

import numpy as np

from irr import retrieve
from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.hub import cache_folder
from irr.index.store import open_index
from irr.io.texts import read_gold
from irr.labels.space import LabelSpace
from irr.optimize.tuning import GoldFeatures, Plan, Scorer
from irr.prompts.pack import load_task
from irr.retrieve.features import PLAIN, Combination, default_combination

OUTPUT = Path(retrieve.__file__).with_name("default.json")


@dataclass(frozen=True)
class DevSet:
    """A dev set.

    Attributes:
        pack: Its folder.
        file: Its file without the ending.
        texts: How many of its texts are used, at most.
        annotated: Whether others than the labels in use were not annotated, and are left out.
    """

    pack: str
    file: str
    texts: int = 1_000
    annotated: bool = False

    @property
    def name(self) -> str:
        """Its folder and file."""
        return f"{self.pack}/{self.file}"


DEV_SETS = (
    DevSet("esco", "dev"),
    DevSet("attack", "dev", annotated=True),
    DevSet("attack", "annoctr_dev"),
    DevSet("attack", "reports_dev", annotated=True),
    DevSet("clinc150", "dev"),
    DevSet("icd10", "dev", texts=250),
    DevSet("eurovoc", "dev"),
    DevSet("gnd", "dev"),
)
# The weights that are tried: in long texts beside the hand-weighted score, in short ones against the best
# parent, which the score raises with its children.
SCORE = 0.14
LONG = {
    "mean_passage": (0.07, 0.14, 0.21),
    "exclusive_matches": (0.0, 0.02, 0.04),
    "specific_matches": (0.0, 0.02, 0.04),
    "shared_words": (0.07, 0.11, 0.17, 0.28),
    "first_passage": (0.0, 0.014),
}
PARENT = (0.0, -0.025, -0.05)
# A point that a dev set loses weighs so many points that another one gains.
LOSS = 3


def read(data: Path, dev: DevSet, examples: bool = False) -> list[GoldFeatures]:
    """The features of a dev set's texts, by the default settings, with or without the others as examples."""
    space = LabelSpace.read(data / dev.pack / "labels.jsonl")
    rows = [row for row in read_gold(data / dev.pack / f"{dev.file}.jsonl", space) if row.labels]
    if len(rows) > dev.texts:
        chosen = np.random.default_rng(0).permutation(len(rows))[: dev.texts]
        rows = [rows[at] for at in sorted(chosen.tolist())]
    settings, encoder = Settings(), SentenceEncoder()
    index = open_index(space, encoder, settings.retrieve.fields, cache_folder("indexes"))
    scorer = Scorer(index, encoder, rows, [])
    judged = scorer.judged(
        Plan(settings, load_task("default"), default_combination(), examples=examples), rows
    )
    if examples:
        return judged
    if dev.annotated:
        judged = [_within(text, _annotated(data / dev.pack, space)) for text in judged]
    return judged


def train(sets: dict[DevSet, list[GoldFeatures]]) -> Combination:
    """The weights of the grid that gain most RP@10 over the hand-weighted score on these dev sets."""
    every = [_Measured(texts) for texts in sets.values()]
    long = [one for one in every if one.long]
    tried = [_named({"score": SCORE, **dict(zip(LONG, own, strict=True))}) for own in product(*LONG.values())]
    best = max(tried, key=lambda own: _worth(long, Combination(long=own)))
    programs = [Combination(short=_named({"score": 1.0, "parent": own}), long=best) for own in PARENT]
    return max(programs, key=lambda own: _worth(every, own))


def _named(weights: dict[str, float]) -> dict[str, float]:
    return {name: weight for name, weight in weights.items() if weight}


class _Measured:
    """A dev set, and its RP@10 by the hand-weighted score."""

    def __init__(self, texts: list[GoldFeatures]) -> None:
        self.texts = texts
        self.long = fmean(text.features.passages for text in texts) > 2
        self._plain = self._precision(PLAIN)

    def gain(self, weights: Combination) -> float:
        """What these weights gain."""
        return self._precision(weights) - self._plain

    def _precision(self, weights: Combination) -> float:
        return fmean(text.rank_precision(weights) for text in self.texts)


def _worth(sets: list[_Measured], weights: Combination) -> float:
    gains = [one.gain(weights) for one in sets]
    return sum(gain if gain > 0 else LOSS * gain for gain in gains)


def _annotated(folder: Path, space: LabelSpace) -> set[int]:
    """The labels that TRAM's annotators are known to have looked for: those of the dev texts."""
    rows = (row for name in ("dev", "reports_dev") for row in read_gold(folder / f"{name}.jsonl", space))
    return {space.number_of[label] for row in rows for label in row.labels}


def _within(text: GoldFeatures, labels: set[int]) -> GoldFeatures:
    kept = np.isin(text.features.labels, sorted(labels))
    features = text.features
    features = replace(
        features,
        labels=features.labels[kept],
        values=features.values[kept],
        example=features.example[kept],
    )
    return replace(text, features=features, right=text.right[kept])


def main() -> None:
    """Fits the weights and writes them into the package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the packs")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    found = train({dev: read(arguments.data, dev) for dev in DEV_SETS})
    arguments.output.write_text(found.model_dump_json(indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
