"""The command `irr calibrate`: calibrates a frozen program on texts with gold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import irr
from irr.cli import display, options
from irr.cli.options import value

if TYPE_CHECKING:
    from irr.calibrate.calibration import Calibration


def calibrate(
    program: Annotated[Path, value("The frozen program; it gets the probabilities.", "DIR")],
    gold: Annotated[Path, value('At least 30 texts, better 100: JSONL {"id", "text", "labels"}.', "FILE")],
    api_base: options.APIBase = None,
    index_folder: options.IndexFolder = None,
    concurrency: options.Concurrency = "auto",
    requests_per_minute: options.RequestsPerMinute = None,
    tokens_per_minute: options.TokensPerMinute = None,
    patience: options.Patience = 60,
) -> None:
    """Calibrate a frozen program: each label it returns then has a probability.

    Texts that are examples of the program are ranked without their own example. Give texts like those that
    the program will read. Probabilities are a little too high if settings and prompts were chosen on the same
    texts.
    """
    from irr.calibrate.fit import calibrate as run
    from irr.frozen.folder import ProgramFolder
    from irr.frozen.freeze import freeze_calibration
    from irr.io.texts import read_gold

    ProgramFolder.at(program)
    limits = options.limits(concurrency, requests_per_minute, tokens_per_minute, patience)
    with display.progress("label entries", None) as on_entries:
        loaded = irr.load(
            program, api_base=api_base, limits=limits, index_folder=index_folder, progress=on_entries
        )
    rows = read_gold(gold, loaded.space)
    with display.progress("texts", sum(bool(row.labels) for row in rows)) as on_text:
        calibration = run(loaded, rows, on_text).calibration
    assert calibration is not None
    freeze_calibration(calibration, program)
    for line in calibration_lines(calibration):
        display.say(line)
    display.note(f"calibrated: {program}; see irr classify --help for what it can do now")


def calibration_lines(calibration: Calibration) -> list[str]:
    """A calibration in two readable lines."""
    most = [
        f"{name} up to {promises[-1][0]:.2f}" if promises else f"no {name}"
        for name, promises in (("precision", calibration.precision), ("recall", calibration.recall))
    ]
    error = f"expected calibration error {calibration.error:.3f} (each text by a curve that did not see it)"
    return [f"calibrated on {calibration.texts:,} texts, {error}", f"it can promise {' and '.join(most)}"]
