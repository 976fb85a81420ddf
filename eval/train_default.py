"""Makes the weights that come with the package, from the dev sets of all packs.

python -m eval.train_default --data DIR
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from irr import retrieve
from irr.builder import default_index_folder
from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.index.store import open_index
from irr.io.texts import read_gold
from irr.labels.space import LabelSpace
from irr.optimize.combining import Judged, fit
from irr.optimize.scorer import Plan, Scorer
from irr.prompts.pack import load_task
from irr.retrieve.combination import Combination

OUTPUT = Path(retrieve.__file__).with_name("default.json")


@dataclass(frozen=True)
class DevSet:
    """A dev set, and how much it counts.

    Attributes:
        pack: Its folder.
        file: Its file without the ending.
        weight: The sum of the weights of its texts.
        texts: How many of its texts are used, at most.
        annotated: Whether others than the labels in use were not annotated, and are left out.
    """

    pack: str
    file: str
    weight: float
    texts: int = 1_000
    annotated: bool = False

    @property
    def name(self) -> str:
        """Its folder and file."""
        return f"{self.pack}/{self.file}"


DEV_SETS = (
    DevSet("esco", "dev", 200),
    DevSet("attack", "dev", 50, annotated=True),
    DevSet("attack", "annoctr_dev", 100),
    DevSet("attack", "reports_dev", 60, annotated=True),
    DevSet("clinc150", "dev", 50),
    DevSet("icd10", "dev", 100, texts=250),
    DevSet("eurovoc", "dev", 120),
    DevSet("gnd", "dev", 150),
)
# What the weights are drawn towards, and by how much. Chosen by leaving one pack out: without a pack's own
# texts no weights served its short texts better than the hand-weighted score, so that these keep it.
START = Combination(short={"score": 1.0}, long={"score": 0.15})
SHORT, LONG = 1e9, 1_000.0


def read(data: Path, dev: DevSet) -> tuple[list[Judged], list[Judged]]:
    """The features of a dev set's texts, by the default settings: alone, and with the others as examples.

    In the second list each text is left out of its own evidence.
    """
    space = LabelSpace.read(data / dev.pack / "labels.jsonl")
    rows = [row for row in read_gold(data / dev.pack / f"{dev.file}.jsonl", space) if row.labels]
    if len(rows) > dev.texts:
        chosen = np.random.default_rng(0).permutation(len(rows))[: dev.texts]
        rows = [rows[at] for at in sorted(chosen.tolist())]
    settings, encoder = Settings(), SentenceEncoder()
    index = open_index(space, encoder, settings.retrieve.fields, default_index_folder())
    scorer = Scorer(index, encoder, rows, [])
    task = load_task("default")
    alone, together = (scorer.judged(Plan(settings, task, examples=own), rows) for own in (False, True))
    if dev.annotated:
        alone = [_within(text, _annotated(data / dev.pack, space)) for text in alone]
    return [replace(text, weight=dev.weight / len(alone)) for text in alone], together


def train(sets: dict[DevSet, list[Judged]]) -> Combination:
    """The weights by all texts of these dev sets."""
    return fit([text for texts in sets.values() for text in texts], START, SHORT, LONG)


def _annotated(folder: Path, space: LabelSpace) -> set[int]:
    """The labels that TRAM's annotators are known to have looked for: those of the dev texts."""
    rows = (row for name in ("dev", "reports_dev") for row in read_gold(folder / f"{name}.jsonl", space))
    return {space.number_of[label] for row in rows for label in row.labels}


def _within(text: Judged, labels: set[int]) -> Judged:
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
    found = train({dev: read(arguments.data, dev)[0] for dev in DEV_SETS})
    arguments.output.write_text(found.model_dump_json(indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
