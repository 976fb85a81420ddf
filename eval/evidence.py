"""What the learned combination of features is worth on the dev sets of all packs, without a language model.

python -m eval.evidence --data DIR [--name evidence]
python -m eval.evidence --data DIR --own esco/dev eurovoc/dev [--name evidence_own]

Three comparisons, each by RP@10 on the same labels: the hand-weighted score against weights trained on all
other packs (leave one pack out); against the weights that come with the package, which have seen the dev
sets; and, with --own, against weights fitted to a pack's own dev texts by cross-validation, the other texts
being its examples.
Of GND also F1 of the first five labels.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.record import finish, options
from irr.optimize.tuning import GoldFeatures, cross_validated, fit_by_cross_validation
from irr.retrieve.features import PLAIN, Combination, default_combination
from irr.statistics import estimate, paired_bootstrap
from scripts.train_default import DEV_SETS, DevSet, read, train

_F1_LABELS = 5
_DEEP = 50


def main() -> None:
    """Evaluates all dev sets and records the figures."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the packs")
    parser.add_argument("--own", nargs="*", help="only these dev sets, by their own texts")
    arguments = parser.parse_args()
    if arguments.own:
        own = [dev for dev in DEV_SETS if dev.name in arguments.own]
        read_own = {dev.name: read(arguments.data, dev, examples=True) for dev in own}
        figures = {"dev sets": {name: by_own_texts(texts) for name, texts in read_own.items()}}
    else:
        figures = by_other_packs({dev: read(arguments.data, dev) for dev in DEV_SETS})
    finish(figures, arguments.name)


def by_other_packs(found: dict[DevSet, list[GoldFeatures]]) -> dict[str, Any]:
    """Each dev set by weights trained on the other packs, and by those that come with the package."""
    sets: dict[str, dict[str, Any]] = {}
    gains = []
    for dev, texts in found.items():
        others = train({other: own for other, own in found.items() if other.pack != dev.pack})
        weights = {"hand-weighted": PLAIN, "leave one pack out": others, "default": default_combination()}
        gain = paired_bootstrap(precisions(texts, others), precisions(texts, PLAIN))
        gains.append(gain.mean)
        sets[dev.name] = {
            "texts": len(texts),
            "pool": pool(texts),
            **{name: estimate(precisions(texts, one)).percent() for name, one in weights.items()},
            "gain leave one pack out": gain.model_dump(),
        }
        if dev.pack == "gnd":
            sets[dev.name] |= {
                f"F1@5 {name}": estimate(f1(texts, one)).percent() for name, one in weights.items()
            }
    return {
        "dev sets": sets,
        "mean gain leave one pack out": round(float(np.mean(gains)), 4),
    }


def by_own_texts(texts: Sequence[GoldFeatures]) -> dict[str, Any]:
    """A dev set by weights fitted to its own texts, each text by weights that were fitted without it."""
    began = time.perf_counter()
    own = fit_by_cross_validation(texts, default_combination(), 0)
    seconds = time.perf_counter() - began
    assert own is not None
    usable = [text for text in texts if text.right.any()]
    deep = cross_validated(usable, default_combination(), own.strength, 0, _DEEP)
    return {
        "texts": len(texts),
        "pool": pool(texts),
        "default with examples": estimate(own.before.tolist()).percent(),
        "own cross-validation": estimate(own.after.tolist()).percent(),
        "own cross-validation RP@50": estimate(deep.tolist()).percent(),
        "gain": paired_bootstrap(own.after.tolist(), own.before.tolist()).model_dump(),
        "seconds to fit": round(seconds, 1),
    }


def pool(texts: Sequence[GoldFeatures]) -> str:
    """The share of gold labels that are among those scored."""
    return estimate([text.right.sum() / text.gold for text in texts]).percent()


def precisions(texts: Sequence[GoldFeatures], weights: Combination) -> list[float]:
    """RP@10 of each text."""
    return [text.rank_precision(weights) for text in texts]


def f1(texts: Sequence[GoldFeatures], weights: Combination) -> list[float]:
    """F1 of the first five labels of each text."""
    values = []
    for text in texts:
        order = np.argsort(-weights.scores(text.features), kind="stable")[:_F1_LABELS]
        values.append(2 * float(text.right[order].sum()) / (_F1_LABELS + text.gold))
    return values


if __name__ == "__main__":
    main()
