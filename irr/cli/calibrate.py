"""The command `irr calibrate`: calibrates a frozen program on texts with gold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.options import APIBase, IndexFolder, LimitOptions

if TYPE_CHECKING:
    from irr.calibrate.calibration import Calibration


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """The program, and the texts to calibrate it on."""

    program: Annotated[Path, Option(help="The frozen program; it gets the probabilities.", metavar="DIR")]
    gold: Annotated[
        Path, Option(help='At least 30 texts, better 100: JSONL {"id", "text", "labels"}.', metavar="FILE")
    ]
    api_base: APIBase = None
    index_folder: IndexFolder = None
    limits: LimitOptions


@command("calibrate --program program --gold examples.jsonl")
def calibrate(options: CalibrateOptions) -> None:
    """Calibrate a frozen program: each label it returns then has a probability.

    Texts that are examples of the program are ranked without their own example. Give texts like those that
    the program will read. Probabilities are a little too high if settings and prompts were chosen on the same
    texts.
    """
    from irr.calibrate.fit import calibrate as run
    from irr.frozen.folder import ProgramFolder
    from irr.frozen.freeze import freeze_calibration, load
    from irr.io.texts import read_gold

    ProgramFolder.at(options.program)
    with display.progress("label entries", None) as on_entries:
        program = load(
            options.program,
            api_base=options.api_base,
            limits=options.limits.read(),
            index_folder=options.index_folder,
            progress=on_entries,
        )
    rows = read_gold(options.gold, program.space)
    with display.progress("texts", sum(bool(row.labels) for row in rows)) as on_text:
        calibration = run(program, rows, on_text).calibration
    assert calibration is not None
    freeze_calibration(calibration, options.program)
    for line in lines(calibration):
        display.say(line)
    display.note(f"calibrated: {options.program}; see irr classify --help for what it can do now")


def lines(calibration: Calibration) -> list[str]:
    """A calibration in two readable lines."""
    most = [
        f"{name} up to {promises[-1][0]:.2f}" if promises else f"no {name}"
        for name, promises in (("precision", calibration.precision), ("recall", calibration.recall))
    ]
    return [
        f"calibrated on {calibration.texts:,} texts, expected calibration error {calibration.error:.3f} "
        "(each text by a curve that did not see it)",
        f"it can promise {' and '.join(most)}",
    ]
