"""The label index: what an edit costs against a build, what a kill costs, and what the fast engine gains.

    python -m eval.index edit --labels DIR/labels.jsonl
    python -m eval.index kills --labels DIR/labels.jsonl
    python -m eval.index engine --labels DIR/labels.jsonl

Rounds of rivals alternate, because machines drift; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.record import record
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.index.store import LabelIndex, open_index
from irr.labels.space import LabelSpace
from irr.types import EntryKind, Label

FIELDS = {"name": (EntryKind.NAME,), "all": tuple(EntryKind)}
ROUNDS = 3
KILLS = 50
_KILLED = """
import sys
from pathlib import Path
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.index.store import open_index
from irr.labels.space import LabelSpace
open_index(LabelSpace.read(Path(sys.argv[1])), SentenceEncoder(), [], Path(sys.argv[2]))
"""


class Counting:
    """An encoder that notes what it encodes."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.name = encoder.name
        self.revision = encoder.revision
        self.texts: list[str] = []
        self._encoder = encoder

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What the encoder gives."""
        self.texts += texts
        return self._encoder.encode(texts)


def main() -> None:
    """Measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["edit", "kills", "engine"])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="labels taken (default: all)")
    parser.add_argument("--fields", choices=FIELDS, default="name")
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()
    labels = list(LabelSpace.read(arguments.labels))[: arguments.limit]
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "edit": lambda: edit(labels, FIELDS[arguments.fields]),
        "kills": lambda: kills(labels[:1_000]),
        "engine": lambda: engine(labels),
    }
    figures = {"labels": len(labels), **measures[arguments.what]()}
    print(json.dumps(figures, indent=2))
    if arguments.name:
        record(arguments.name, figures)


def edited(labels: Sequence[Label], round_: int) -> LabelSpace:
    """The labels with 5 of other names, 20 more and 5 fewer."""
    chance = random.Random(round_)
    kept = list(labels)
    for number in chance.sample(range(len(kept)), 5):
        kept[number] = kept[number].model_copy(update={"name": f"{kept[number].name}, edited {round_}"})
    for number in sorted(chance.sample(range(len(kept)), 5), reverse=True):
        del kept[number]
    more = [Label(id=f"new {round_} {i}", name=f"new label {round_} {i}") for i in range(20)]
    return LabelSpace([*kept, *more])


def same(index: LabelIndex, other: LabelIndex) -> bool:
    """Whether two indexes hold the same bits."""
    return all(
        np.array_equal(getattr(index, name), getattr(other, name))
        for name in ("vectors", "label_of", "kind_of")
    )


def edit(labels: Sequence[Label], fields: Sequence[EntryKind]) -> dict[str, Any]:
    """Seconds of a build from nothing and of an edit, and whether both give the same bits."""
    encoder = SentenceEncoder()
    builds, edits, alike = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept"
        open_index(LabelSpace(labels), encoder, fields, kept)
        for round_ in range(ROUNDS):
            space = edited(labels, round_)
            start = time.perf_counter()
            index = open_index(space, encoder, fields, kept)
            edits.append(time.perf_counter() - start)
            start = time.perf_counter()
            fresh = open_index(space, encoder, fields, Path(folder) / f"fresh {round_}")
            builds.append(time.perf_counter() - start)
            alike.append(same(index, fresh))
            shutil.rmtree(Path(folder) / f"fresh {round_}")
    build, change = statistics.median(builds), statistics.median(edits)
    return {
        "build_seconds": build,
        "edit_seconds": change,
        "ratio": change / build,
        "same_bits_as_a_build_from_nothing": all(alike),
    }


def kills(labels: Sequence[Label]) -> dict[str, Any]:
    """Kills an update at random moments, and looks at what is left."""
    encoder = SentenceEncoder()
    chance = random.Random(0)
    old = LabelSpace(labels)
    wrong, encoded_again = 0, []
    with tempfile.TemporaryDirectory() as folder:
        root, file = Path(folder) / "indexes", Path(folder) / "labels.jsonl"
        before = open_index(old, encoder, [], root)
        vectors = np.array(before.vectors)
        longest = 0.0
        for number in range(KILLS + 1):
            space = LabelSpace(
                [*labels, *(Label(id=f"{number} {i}", name=f"label {number} {i}") for i in range(200))]
            )
            file.write_text("".join(f"{label.model_dump_json()}\n" for label in space), "utf-8")
            start = time.perf_counter()
            process = subprocess.Popen([sys.executable, "-c", _KILLED, str(file), str(root)])
            if number:  # the first runs to its end, to tell how long that takes
                time.sleep(chance.uniform(0.3 * longest, longest))
                process.kill()
            process.wait()
            longest = longest or time.perf_counter() - start
            counting = Counting(encoder)
            wrong += not np.array_equal(open_index(old, counting, [], root).vectors, vectors)
            wrong += len(counting.texts) != 1  # a probe: the old index stands
            index = open_index(space, counting, [], root)
            encoded_again.append(len(counting.texts))
            wrong += not np.array_equal(index.vectors[: len(vectors)], vectors)
            wrong += not np.array_equal(index.vectors, encoder.encode([label.name for label in space]))
    return {
        "labels": len(labels),
        "kills": KILLS,
        "wrong_indexes": wrong,
        "kills_after_which_nothing_was_encoded_again": sum(count <= 2 for count in encoded_again[1:]),
        "most_texts_encoded_after_a_kill": max(encoded_again),
        "texts_of_an_update": 200,
    }


def engine(labels: Sequence[Label]) -> dict[str, Any]:
    """Names and descriptions a second by the fast engine, and by sentence-transformers."""
    rivals = {"fast": SentenceEncoder(), "sentence_transformers": SentenceEncoder(device="cpu")}
    sets = {
        "names": [label.name for label in labels][:2_000],
        "descriptions": [label.description for label in labels if label.description][:200],
    }
    figures: dict[str, Any] = {}
    for kind, texts in sets.items():
        rates: dict[str, list[float]] = {name: [] for name in rivals}
        vectors = {}
        for _ in range(ROUNDS):
            for name, encoder in rivals.items():
                start = time.perf_counter()
                vectors[name] = encoder.encode(texts)
                rates[name].append(len(texts) / (time.perf_counter() - start))
        medians = {name: statistics.median(column) for name, column in rates.items()}
        apart = float(np.abs(vectors["fast"] - vectors["sentence_transformers"]).max())
        ratio = medians["fast"] / medians["sentence_transformers"]
        figures[kind] = {**medians, "ratio": ratio, "largest_difference": apart}
    return figures


if __name__ == "__main__":
    main()
