"""The audit: a tenth of the gold is falsified; how many of the most suspicious texts are the falsified ones.

python -m eval.audit --data DIR                 # all sets, five seeds
python -m eval.audit --data DIR --sets clinc150 --seeds 1

Labels are swapped for another, dropped, or another is added, a third each. The other label is any ("random"),
or one of the ten whose names are nearest to the right one's ("near"). Looked at are as many texts as were
falsified. cleanlab, where it is installed (pip install cleanlab), scores the same probabilities.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eval.record import record
from irr.io.texts import GoldRow, read_gold
from irr.labels.space import LabelSpace
from irr.program.program import build
from irr.statistics import estimate
from irr.workbench.audit.audit import judged
from irr.workbench.audit.findings import suspicion_of_texts
from irr.workbench.audit.reading import Readings, read
from irr.workbench.audit.slots import Slots

Floats = NDArray[np.float64]
Gold = Sequence[frozenset[int]]
SETS = {
    "clinc150": ("clinc150", ("dev", "test")),
    "esco": ("esco", ("dev", "house_test", "tech_test", "techwolf_test")),
    "annoctr": ("attack", ("annoctr_dev", "annoctr_test")),
}
_SHARE = 0.1
_NEAR = 10
# The shares that the audit supposes were chosen on other draws.
_FIRST_SEED = 10
KINDS = ("swapped", "dropped", "added")


class Falsified(NamedTuple):
    """Gold in which some labels are false: the gold, what was done to which text, and to which labels."""

    gold: list[frozenset[int]]
    done: dict[int, set[str]]
    labels: set[tuple[int, int]]


def falsify(gold: Gold, other: Callable[[int], int], rng: np.random.Generator) -> Falsified:
    """Falsifies a tenth of the labels.

    Args:
        gold: The labels of each text.
        other: Draws a label in place of a right one.
        rng: Chooses what is falsified.
    """
    pairs = [(text, label) for text, own in enumerate(gold) for label in sorted(own)]
    chosen = rng.permutation(len(pairs))[: round(_SHARE * len(pairs))]
    false = [set(own) for own in gold]
    done: dict[int, set[str]] = {}
    touched = set()
    for number, place in enumerate(chosen.tolist()):
        text, label = pairs[place]
        kind = KINDS[number % len(KINDS)]
        done.setdefault(text, set()).add(kind)
        if kind != "added":
            false[text].discard(label)
            touched.add((text, label))
        if kind != "dropped":
            while (wrong := other(label)) in gold[text]:
                pass
            false[text].add(wrong)
            touched.add((text, wrong))
    return Falsified([frozenset(own) for own in false], done, touched)


def others(mode: str, gold: Gold, readings: Readings, count: int, rng: np.random.Generator) -> Any:
    """What draws a label in place of a right one: any of all, or one with a name near to the right one's."""
    if mode == "random":
        return lambda _: int(rng.choice(readings.reference))
    numbers = np.array(sorted(readings.names))
    names = np.array([readings.names[number] for number in numbers.tolist()])

    def near(label: int) -> int:
        order = np.argsort(-(names @ readings.names[label]), kind="stable")
        return int(rng.choice(numbers[order[1 : _NEAR + 1]]))

    return near


def cleanlab_scores(slots: Slots, probability: Floats, gold: Gold, labels: int) -> dict[str, Floats] | None:
    """How suspicious each text is to cleanlab, by its ways to put labels together; None if it is missing."""
    try:
        from cleanlab.multilabel_classification import get_label_quality_scores
    except ImportError:
        return None
    # Labels that are no slot are as probable as those drawn at random, which stand for them.
    drawn = slots.weight > 1
    table = np.full((len(gold), labels), float(np.median(probability[drawn])) if drawn.any() else 1e-6)
    table[slots.text, slots.label] = probability
    given = [sorted(own) for own in gold]
    ways: dict[str, dict[str, Any]] = {
        "cleanlab": {},
        "cleanlab, lowest": {"aggregator_kwargs": {"method": lambda scores, **_: scores.min(axis=-1)}},
    }
    return {name: 1 - get_label_quality_scores(given, table, **options) for name, options in ways.items()}


def measured(gold: Gold, labels: int, readings: Readings, mode: str, seeds: int) -> dict[str, Any]:
    """All figures of a set."""
    hits: dict[str, list[float]] = {}
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    of_labels: list[float] = []
    false_texts = 0
    for seed in range(_FIRST_SEED, _FIRST_SEED + seeds):
        rng = np.random.default_rng(seed)
        false = falsify(gold, others(mode, gold, readings, labels, rng), rng)
        slots, probability, suspicion, _ = judged(readings, false.gold, labels)
        texts = np.array(sorted(false.done))
        false_texts += len(texts)
        scores = {"irr": suspicion_of_texts(slots, suspicion, len(gold))}
        scores |= cleanlab_scores(slots, probability, false.gold, labels) or {}
        for name, score in scores.items():
            top = np.argsort(-score, kind="stable")[: len(texts)]
            hits.setdefault(name, []).extend(np.isin(top, texts).astype(float).tolist())
            if name == "irr":
                for text, kinds in false.done.items():
                    for kind in kinds:
                        found[kind].append(float(text in top))
        best = np.argsort(-suspicion, kind="stable")[: len(false.labels)]
        pairs = zip(slots.text[best].tolist(), slots.label[best].tolist(), strict=True)
        of_labels.extend(float(pair in false.labels) for pair in pairs)
    return {
        "texts": len(gold),
        "falsified_texts": round(false_texts / seeds, 1),
        "precision": {name: estimate(values).percent() for name, values in hits.items()},
        "precision_of_labels": estimate(of_labels).percent(),
        "found": {kind: estimate(values).percent() for kind, values in found.items()},
    }


def load(data: Path, name: str) -> tuple[LabelSpace, list[GoldRow]]:
    """A set's labels and its texts, each text once."""
    folder, files = SETS[name]
    space = LabelSpace.read(data / folder / "labels.jsonl")
    rows: dict[str, GoldRow] = {}
    for file in files:
        for row in read_gold(data / folder / f"{file}.jsonl", space):
            rows.setdefault(row.text, row)
    return space, list(rows.values())


def main() -> None:
    """Measures each set, and records all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder that keeps what the program read, for another run")
    parser.add_argument("--name", default="audit", help="record the result under this name")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"seeds": arguments.seeds, "sets": {}}
    for name in arguments.sets:
        space, rows = load(arguments.data, name)
        gold = [frozenset(space.number_of[label] for label in row.labels) for row in rows]
        used = sorted(frozenset().union(*gold))
        kept = arguments.keep / f"{name}.pickle" if arguments.keep else None
        if kept and kept.exists():
            readings = pickle.loads(kept.read_bytes())
        else:
            readings = read(build(space), [row.text for row in rows], used)
            if kept:
                kept.write_bytes(pickle.dumps(readings))
        for mode in ("random", "near"):
            found = measured(gold, len(space), readings, mode, arguments.seeds)
            figures["sets"][f"{name}, {mode}"] = found
            print(name, mode, found, flush=True)
    record(arguments.name, figures)


if __name__ == "__main__":
    main()
