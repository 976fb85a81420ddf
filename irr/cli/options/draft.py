"""The options of `irr draft`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from irr.cli.options.models import LimitOptions
from irr.cli.options.program import ProgramOptions

SIZE = 50


@dataclass(frozen=True, kw_only=True)
class DraftOptions:
    """Which texts to draft from, what is wanted, and where it goes."""

    input: Annotated[
        str, Option(help="The texts: JSONL or a table, as irr classify reads them.", metavar="FILE")
    ]
    output: Annotated[
        str,
        Option(
            help='The drafted labels, or with --labels the changes, as JSONL; "-" writes stdout.',
            metavar="FILE",
        ),
    ]
    size: Annotated[int | None, Option(help=f"Labels wanted. Default: {SIZE}.", min=2)] = None
    levels: Annotated[
        int | None,
        Option(help="Levels of labels: with 2 or 3, broader ones stand above. Default: 1.", min=1, max=3),
    ] = None
    seed_labels: Annotated[
        Path | None, Option(help="Keep these labels, and add what is missing.", metavar="FILE")
    ] = None
    report: Annotated[
        str | None,
        Option(
            help="Write a page there: a map of the texts, labels, overlaps, what was left over.",
            metavar="FILE",
        ),
    ] = None
    seed: Annotated[int, Option(help="The same seed gives the same labels.", min=0)] = 0
    freeze: Annotated[
        str | None,
        Option(
            help="Freeze a program for the labels there, in which their example texts count more than their "
            "names: irr classify --program DIR.",
            metavar="DIR",
        ),
    ] = None
    texts: Annotated[
        int | None,
        Option(
            "--lm-texts",
            help="With --lm: texts that the model reads, drawn at random. Default: 1,000.",
            min=1,
        ),
    ] = None
    budget: Annotated[
        int | None, Option(help="With --lm: requests that may be sent to it.", metavar="CALLS", min=0)
    ] = None
    program: ProgramOptions
    limits: LimitOptions
