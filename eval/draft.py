"""Drafted label spaces: what classify makes of them against BERTopic, and their names.

python -m eval.draft --data DIR --bertopic /tmp/bertopic/bin/python       # the test sets
python -m eval.draft --data DIR --sets clinc150 --no-bertopic
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import adjusted_mutual_info_score

from eval.record import record
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.io.texts import GoldRow, read_gold
from irr.labels.space import LabelSpace
from irr.program.program import build
from irr.types import Label
from irr.workbench.draft.corpus import Corpus
from irr.workbench.draft.draft import SETTINGS, DraftOptions, draft

_PIP = "python3 -m venv DIR && DIR/bin/pip install bertopic"
_SEEDS = 5


class Set(NamedTuple):
    """Texts whose gold is hidden from the draft."""

    folder: str
    files: tuple[str, ...]


SETS = {
    "clinc150": Set("clinc150", ("test",)),
    "tram": Set("attack", ("test",)),
    "annoctr": Set("attack", ("annoctr_test",)),
    "esco": Set("esco", ("test",)),
    "clinc150_dev": Set("clinc150", ("dev",)),
    "tram_dev": Set("attack", ("dev",)),
    "annoctr_dev": Set("attack", ("annoctr_dev",)),
    "esco_dev": Set("esco", ("dev",)),
}
_TESTS = ("clinc150", "tram", "annoctr", "esco")


def read(data: Path, name: str) -> tuple[list[GoldRow], LabelSpace]:
    """The texts of a set that have one gold label, and the label space."""
    space = LabelSpace.read(data / SETS[name].folder / "labels.jsonl")
    rows = [
        row
        for file in SETS[name].files
        for row in read_gold(data / SETS[name].folder / f"{file}.jsonl", space)
    ]
    return [row for row in rows if len(row.labels) == 1], space


def quality(
    rows: Sequence[GoldRow], space: LabelSpace, encoder: SentenceEncoder, python: str
) -> dict[str, Any]:
    """Adjusted mutual information with gold: of the labels that texts get, and of BERTopic's topics."""
    texts, gold = [row.text for row in rows], [row.labels[0] for row in rows]
    size = len(set(gold))
    corpus = Corpus.read(texts, encoder)
    scores, alone, drafts = [], [], {}
    for seed in range(_SEEDS):
        drafted = draft(corpus, encoder, DraftOptions(size, seed=seed))
        if drafted.labels not in drafts:
            drafts[drafted.labels] = (
                classified(drafted.labels, texts, encoder, frozen=True),
                classified(drafted.labels, texts, encoder, frozen=False),
            )
        found, labels_only = drafts[drafted.labels]
        scores.append(adjusted_mutual_info_score(gold, found))
        alone.append(adjusted_mutual_info_score(gold, labels_only))
    right, named = names(drafted.labels, found, gold, space, encoder)
    figures = {
        "texts": len(texts),
        "size": size,
        "ami": _spread(scores),
        "ami_of_the_label_file_alone": _spread(alone),
        "names_right": f"{right} of {named}",
    }
    if python:
        figures["bertopic_ami"] = {
            way: _spread([adjusted_mutual_info_score(gold, run[way]) for run in runs])
            for runs in [bertopic(texts, encoder.encode(texts), size, python)]
            for way in runs[0]
        }
    return figures


def classified(
    labels: Sequence[Label], texts: Sequence[str], encoder: SentenceEncoder, frozen: bool
) -> list[str]:
    """The first label of each text, by the program that the draft freezes or by its label file alone."""
    with tempfile.TemporaryDirectory() as folder:
        settings = SETTINGS if frozen else None
        program = build(LabelSpace(labels), encoder=encoder, settings=settings, index_folder=folder)
        return [found.labels[0].id if found.labels else "" for found in program.batch(texts, 1)]


def names(
    labels: Sequence[Label],
    found: Sequence[str],
    gold: Sequence[str],
    space: LabelSpace,
    encoder: SentenceEncoder,
) -> tuple[int, int]:
    """How many names are nearest to the gold label that most of their texts have, and how many there are."""
    vectors = encoder.encode([label.name for label in space])
    own = {
        label.id: Counter(right for right, given in zip(gold, found, strict=True) if given == label.id)
        for label in labels
    }
    right = named = 0
    for label in labels:
        if counts := own[label.id]:
            nearest = space[int((vectors @ encoder.encode([label.name])[0]).argmax())].id
            right += counts[nearest] == max(counts.values())
            named += 1
    return right, named


def bertopic(texts: Sequence[str], vectors: Any, size: int, python: str) -> list[dict[str, list[int]]]:
    """The topics of BERTopic, by seed and by way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "vectors.npy", vectors)
        task = {"vectors": str(folder / "vectors.npy"), "texts": list(texts), "size": size, "seeds": _SEEDS}
        (folder / "task.json").write_text(json.dumps(task), "utf-8")
        script = Path(__file__).with_name("draft_bertopic.py")
        call = [python, str(script), str(folder / "task.json"), str(folder / "out.json")]
        subprocess.run(call, check=True, env={**os.environ, "PYTHONPATH": ""})
        runs: list[dict[str, list[int]]] = json.loads((folder / "out.json").read_text("utf-8"))
        return runs


def _spread(values: Sequence[float]) -> dict[str, float]:
    """The mean over seeds, and the lowest and the highest."""
    return {
        "mean": round(float(np.mean(values)), 4),
        "lowest": round(min(values), 4),
        "highest": round(max(values), 4),
    }


def main() -> None:
    """Measures each part, and records all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=_TESTS, choices=list(SETS))
    parser.add_argument(
        "--bertopic",
        default=os.environ.get("IRR_BERTOPIC_PYTHON", ""),
        help="the Python of an environment that has BERTopic; or set IRR_BERTOPIC_PYTHON",
    )
    parser.add_argument("--no-bertopic", action="store_true", help="without the comparison")
    parser.add_argument("--name", default="draft", help="record the result under this name")
    options = parser.parse_args()
    python = "" if options.no_bertopic else options.bertopic
    if not python and not options.no_bertopic:
        sys.exit(f"no BERTopic: give --bertopic DIR/bin/python, made by {_PIP}; or --no-bertopic")
    encoder = SentenceEncoder()
    figures = {}
    for name in options.sets:
        rows, space = read(options.data, name)
        figures[name] = quality(rows, space, encoder, python)
        sys.stderr.write(f"{name}: {json.dumps(figures[name])}\n")
        record(options.name, figures)


if __name__ == "__main__":
    main()
