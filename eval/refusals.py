"""What is refused: how well texts that a label space has nothing for are told from others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from eval.rankings import traces
from irr.calibrate.calibration import Calibration, text_profile
from irr.calibrate.fit import RankedText
from irr.io.texts import GoldRow
from irr.program.program import InferRetrieveRank


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
