"""Decisions: how true probabilities are, which promises are kept, and what is refused, on the packs of data.

python -m eval.decisions --data DIR                      # all sets, 200 splits
python -m eval.decisions --data DIR --limit 300 --splits 40 --sets house tech
python -m eval.decisions --data DIR --foreign /usr/share/games/fortunes/de/zitate    # of Debian's fortunes-de
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from eval.record import finish, options
from irr.calibrate.calibration import (
    DEPTH,
    UNUSUAL,
    Calibration,
    count,
    cut_off,
    is_shifted,
    label_features,
    shift,
    text_profile,
)
from irr.calibrate.decision import Decision
from irr.calibrate.fit import RankedText, fit, padded
from irr.io.texts import GoldRow, read_gold
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank, build
from irr.statistics import calibration_error
from irr.types import Trace


class Pack(NamedTuple):
    """A label space, the texts to calibrate on, which are its examples too, and sets of texts to test on."""

    folder: str
    dev: str
    tests: dict[str, str]


PACKS = (
    Pack("esco", "dev", {"house": "house_test", "tech": "tech_test", "techwolf": "techwolf_test"}),
    Pack("attack", "annoctr_dev", {"annoctr": "annoctr_test"}),
    Pack("attack", "dev", {"tram": "test"}),
    Pack("icd10", "dev", {"icd10": "test"}),
    Pack("clinc150", "dev", {"clinc150": "test"}),
)


class Ranker:
    """The program of a pack, which has its dev texts as examples, and its rankings.

    Args:
        pack: The pack.
        data: The folder of all packs.
        limit: Only the first texts of each set.
    """

    def __init__(self, pack: Pack, data: Path, limit: int | None) -> None:
        self._pack, self._limit = pack, limit
        self._folder = data / pack.folder
        self.space = LabelSpace.read(self._folder / "labels.jsonl")
        examples = [{"text": row.text, "labels": row.labels} for row in self.rows(pack.dev)]
        self.program = build(self.space, examples=examples)

    def rows(self, name: str) -> list[GoldRow]:
        """The texts of a set."""
        return read_gold(self._folder / f"{name}.jsonl", self.space)[: self._limit]

    def dev(self) -> list[RankedText]:
        """The rankings of the dev texts, each without its own example."""
        return _rankings(self.program.leaving_examples_out(), self.rows(self._pack.dev))

    def test(self, name: str) -> list[RankedText]:
        """The rankings of a test set."""
        return _rankings(self.program, self.rows(self._pack.tests[name]))


def traces(program: InferRetrieveRank, texts: Sequence[str]) -> list[Trace | None]:
    """The trace of each text."""
    return [prediction.trace for prediction in program.batch(texts, DEPTH, trace=True)]


def _rankings(program: InferRetrieveRank, rows: Sequence[GoldRow]) -> list[RankedText]:
    """Those of the texts that have gold and an answer."""
    judged = [row for row in rows if row.labels]
    answers = traces(program, [row.text for row in judged])
    found = [RankedText.of(t, row.labels) for t, row in zip(answers, judged, strict=True) if t]
    return [one for one in found if len(one.features)]


Floats = NDArray[np.float64]
_PROMISES = (0.8, 0.9)
_DRAWS, _FEW = 50, 30
_NONSENSE = 1_000


@dataclass(frozen=True)
class Table:
    """The rankings of a set as arrays: probabilities and truth of shape (texts, labels), and gold counts."""

    probability: Floats
    right: NDArray[np.bool_]
    gold: NDArray[np.int64]

    @classmethod
    def of(cls, rankings: Sequence[RankedText], calibration: Calibration) -> Table:
        """The rankings that have gold, with the probabilities of a calibration."""
        probability = [calibration.curve.probabilities(one.features) for one in rankings]
        right = padded([one.right for one in rankings], 0.0).astype(bool)
        return cls(padded(probability, -1.0), right, np.array([one.gold for one in rankings]))

    def first(self, depth: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Probability and truth of the first labels of all texts."""
        there = self.probability[:, :depth] >= 0
        return self.probability[:, :depth][there], self.right[:, :depth][there]

    def f1(self, kept: NDArray[np.bool_]) -> float:
        """Micro-F1 of what is kept."""
        return float(2 * (kept & self.right).sum() / (kept.sum() + self.gold.sum()))

    def recall(self, kept: NDArray[np.bool_]) -> Floats:
        """The recall of each text."""
        found: Floats = (kept & self.right).sum(axis=1) / self.gold
        return found

    def top(self, size: int) -> NDArray[np.bool_]:
        """The first labels of each text."""
        return (np.arange(self.probability.shape[1]) < size) & (self.probability >= 0)

    def best_f1(self, calibration: Calibration) -> NDArray[np.bool_]:
        """What is kept for the best F1."""
        kept, cut = np.zeros(self.right.shape, bool), calibration.thresholds(Decision(best_f1=True))
        for row, values in zip(kept, self.probability, strict=True):
            there = values >= 0
            row[there] = cut.select(values[there], 1.0)
        return kept


def measured(dev: Sequence[RankedText], test: Sequence[RankedText], splits: int) -> dict[str, Any]:
    """All figures of a set."""
    calibration = fit(dev, "dev")
    table, own = Table.of(test, calibration), Table.of(dev, calibration)
    size = max(range(1, DEPTH), key=lambda k: own.f1(own.top(k)))
    cut = max(np.linspace(0.01, 0.9, 90), key=lambda t: own.f1(own.probability >= t))
    probability, right = table.first(20)
    p_values = [calibration.scope.p_value(one.profile) for one in test]
    counts: tuple[int, ...] = ()
    for value in p_values:
        counts = count(counts, value)
    rng = np.random.default_rng(0)
    few = [
        calibration_error(*Table.of(test, fit([dev[i] for i in chosen], "few")).first(10))
        for chosen in (rng.permutation(len(dev))[:_FEW] for _ in range(_DRAWS))
    ]
    return {
        "calibrated_on": len(dev),
        "texts": len(test),
        "calibration_error": round(calibration_error(*table.first(10)), 4),
        "calibration_error_on_30_texts": round(float(np.mean(few)), 4),
        "auc": round(float(roc_auc_score(right, probability)), 4),
        "micro_f1": {
            "best_f1": round(table.f1(table.best_f1(calibration)), 4),
            f"best fixed k, {size}": round(table.f1(table.top(size)), 4),
            f"best cut-off, {cut:.2f}": round(table.f1(table.probability >= cut), 4),
        },
        "unusual": round(float(np.mean(np.array(p_values) <= 0.05)), 4),
        "shift_p": shift(counts, len(dev)),
        "shift_noticed": is_shifted(counts, len(dev)),
        "promises": promises([*dev, *test], splits),
    }


def promises(pool: Sequence[RankedText], splits: int) -> dict[str, Any]:
    """How promises are kept on one half of the texts that were made on the other, over random halves."""
    rng = np.random.default_rng(0)
    kept: dict[str, list[tuple[float, ...]]] = {
        f"{n} {p}": [] for n in ("precision", "recall") for p in _PROMISES
    }
    for _ in range(splits):
        order = rng.permutation(len(pool))
        half = len(pool) // 2
        calibration = fit([pool[i] for i in order[:half]], "half")
        others = [pool[i] for i in order[half:]]
        table = Table.of(others, calibration)
        usual = np.array([calibration.scope.p_value(one.profile) > UNUSUAL for one in others])
        for promise in _PROMISES:
            if (at := cut_off(calibration.precision, promise)) is not None:
                kept[f"precision {promise}"].append(_precision(table, usual, at, promise))
            if (at := cut_off(calibration.recall, promise)) is not None:
                kept[f"recall {promise}"].append(_recall(table, at))
    names = {
        "precision": ("kept", "precision", "recall", "recall_of_oracle"),
        "recall": ("recall", "mean_size", "fixed_k_with_the_same_recall"),
    }
    return {
        name: {
            "promised_in": f"{len(values)} of {splits} splits",
            **{
                key: round(float(value), 4)
                for key, value in zip(names[name.split()[0]], np.mean(values, axis=0), strict=True)
            },
        }
        if values
        else "cannot be promised"
        for name, values in kept.items()
    }


def _precision(table: Table, usual: NDArray[np.bool_], at: float, promise: float) -> tuple[float, ...]:
    """Whether a precision is kept on usual texts, what it is, and the recall beside the best cut-off's."""
    order = np.argsort(-table.probability, axis=None)
    right = table.right.ravel()[order]
    shares = np.cumsum(right) / np.arange(1, len(right) + 1)
    proven = np.flatnonzero(shares >= promise)
    oracle = right[: proven[-1] + 1].sum() / table.gold.sum() if len(proven) else 0.0
    kept = (table.probability >= at) & usual[:, None]
    precision = (kept & table.right).sum() / max(kept.sum(), 1)
    return precision >= promise, precision, (kept & table.right).sum() / table.gold.sum(), oracle


def _recall(table: Table, at: float) -> tuple[float, ...]:
    """The mean recall, the mean size of a set, and the size of sets of one size with that recall."""
    kept = table.probability >= at
    recall = float(table.recall(kept).mean())
    sizes = range(1, table.probability.shape[1] + 1)
    fixed = next((k for k in sizes if table.recall(table.top(k)).mean() >= recall), DEPTH)
    return recall, float(kept.sum(axis=1).mean()), fixed


def cost(program: InferRetrieveRank, calibration: Calibration, texts: Sequence[str]) -> dict[str, float]:
    """What probabilities and scope add to a text's time."""
    start = time.perf_counter()
    found = [trace for trace in traces(program, texts) if trace]
    whole = time.perf_counter() - start
    start = time.perf_counter()
    for trace in found:
        calibration.curve.probabilities(label_features(trace.ranking, trace.candidates))
        calibration.scope.p_value(text_profile(trace.candidates))
    added = time.perf_counter() - start
    return {"ms_a_text": round(1e3 * whole / len(texts), 3), "added_share": round(added / whole, 5)}


def refused(
    program: InferRetrieveRank, calibration: Calibration, usual: Sequence[RankedText], texts: Sequence[str]
) -> dict[str, float]:
    """How well texts that are out of scope are told from those of a test set, 95 % of which are kept."""
    inside = np.array([calibration.scope.p_value(one.profile) for one in usual])
    outside = np.array(
        [calibration.scope.p_value(text_profile(t.candidates)) if t else 0 for t in traces(program, texts)]
    )
    truth = np.concatenate([np.ones(len(inside)), np.zeros(len(outside))])
    return {
        "texts": len(texts),
        "auroc": round(float(roc_auc_score(truth, np.concatenate([inside, outside]))), 4),
        "refused_at_95_kept": round(float((outside < np.quantile(inside, 0.05)).mean()), 4),
        "refused_by_default": round(float((outside <= 0.05).mean()), 4),
        "kept_by_default": round(float((inside > 0.05).mean()), 4),
    }


def nonsense(foreign: Path | None, rows: Sequence[GoldRow], many: int) -> dict[str, list[str]]:
    """Strings of random letters, of the words of all texts shuffled, and texts of another language."""
    chance = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"

    def word() -> str:
        return "".join(chance.choices(letters, k=chance.randint(2, 9)))

    words = [word for row in rows for word in row.text.split()]
    drawn = {
        "random letters": [" ".join(word() for _ in range(chance.randint(3, 12))) for _ in range(many)],
        "shuffled words": [" ".join(chance.choices(words, k=12)) for _ in range(many)],
    }
    if not foreign:
        return drawn
    texts = foreign.read_text("utf-8").split("\n%\n")
    return drawn | {"another language": [" ".join(text.split()) for text in texts if text.strip()][:many]}


def main() -> None:
    """Measures each set, and records all."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", help="only these; all if left out")
    parser.add_argument("--limit", type=int, help="only the first texts of each set")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--foreign", type=Path, help="texts of another language, between lines of %%")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"limit": arguments.limit, "splits": arguments.splits, "sets": {}}
    for pack in PACKS:
        wanted = [name for name in pack.tests if not arguments.sets or name in arguments.sets]
        if wanted:
            _pack(pack, wanted, arguments, figures)
            finish(figures, arguments.name, show=False)


def _pack(pack: Pack, wanted: Sequence[str], arguments: argparse.Namespace, figures: dict[str, Any]) -> None:
    ranker = Ranker(pack, arguments.data, arguments.limit)
    dev = ranker.dev()
    calibration = fit(dev, "dev")
    for name in wanted:
        test = ranker.test(name)
        figures["sets"][name] = found = measured(dev, test, arguments.splits)
        print(name, json.dumps(found), flush=True)
        if name == "house":
            gold = ranker.rows(pack.tests[name])
            many = min(_NONSENSE, arguments.limit or _NONSENSE)
            figures["nonsense"] = {
                what: refused(ranker.program, calibration, test, texts)
                for what, texts in nonsense(arguments.foreign, gold, many).items()
            }
            figures["cost"] = cost(ranker.program, calibration, [row.text for row in gold[:100]])
        if name == "clinc150":
            lines = (arguments.data / pack.folder / "test_oos.jsonl").read_text("utf-8").splitlines()
            texts = [json.loads(line)["text"] for line in lines]
            figures["out_of_scope"] = refused(ranker.program, calibration, test, texts)


if __name__ == "__main__":
    main()
