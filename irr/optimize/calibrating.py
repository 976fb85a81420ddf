"""Calibrates a program on texts with gold, none of which has its own example speak for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from irr.builder import leaving_one_out
from irr.calibrate.features import DEPTH
from irr.calibrate.fit import fit, ranked
from irr.io.texts import GoldRow
from irr.pipeline import InferRetrieveRank


def calibrate(
    program: InferRetrieveRank,
    rows: Sequence[GoldRow],
    *,
    index_folder: str | Path | None = None,
    on_text: Callable[[], None] = lambda: None,
) -> InferRetrieveRank:
    """The same program with probabilities: each label of its predictions then has one.

    Texts without gold, and those that were answered with an error or without a language model that should
    have been asked, do not count.

    Args:
        program: The program.
        rows: Texts with gold, at least 30; examples of the program may be among them.
        index_folder: Where its index is kept; the user's cache folder if None.
        on_text: Called after each text.

    Raises:
        UsageError: If too few texts are left to calibrate on, or no label is right.
    """
    alone = leaving_one_out(program, index_folder) if program.examples else program
    judged = [row for row in rows if row.labels]
    rankings = []
    for row, answer in zip(judged, alone.batch((r.text for r in judged), DEPTH, trace=True), strict=True):
        if answer.trace and not answer.fallbacks:
            rankings.append(ranked(answer.trace, row.labels))
        on_text()
    return replace(program, calibration=fit(rankings, program.ranking_digest))
