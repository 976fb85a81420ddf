"""Calibrates a program on texts with gold, each without its own example as evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from irr.calibrate.features import DEPTH
from irr.calibrate.fit import fit, ranked
from irr.io.texts import GoldRow
from irr.program.build import leaving_one_out
from irr.program.program import InferRetrieveRank


def calibrate(
    program: InferRetrieveRank,
    rows: Sequence[GoldRow],
    *,
    index_folder: str | Path | None = None,
    on_text: Callable[[], None] = lambda: None,
) -> InferRetrieveRank:
    """The program with a calibration, so that each label of its predictions has a probability.

    Texts without gold, or answered with an error or without the language model, are left out.

    Args:
        program: The program.
        rows: At least 30 texts with gold, which may be examples of the program.
        index_folder: The folder of indexes; the user's cache folder if None.
        on_text: Called after each text.

    Raises:
        UsageError: If too few texts are left, or no label is right.
    """
    alone = leaving_one_out(program, index_folder) if program.examples else program
    judged = [row for row in rows if row.labels]
    rankings = []
    for row, answer in zip(judged, alone.batch((r.text for r in judged), DEPTH, trace=True), strict=True):
        if answer.trace and not answer.fallbacks:
            rankings.append(ranked(answer.trace, row.labels))
        on_text()
    return replace(program, calibration=fit(rankings, program.ranking_digest))
