"""The command `irr review`: what people judged on the review page, as gold or as a summary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument

from irr.cli import display
from irr.cli.options import flag, value
from irr.errors import InputError, UsageError
from irr.text.strings import counted

if TYPE_CHECKING:
    from irr.workbench.review.judgments import Judgment
    from irr.workbench.review.summary import GoldExport


def review(
    *,
    action: Annotated[
        Literal["export", "show"],
        Argument(help="export writes gold, show says how much was judged, by whom, and how alike."),
    ] = "show",
    decisions: Annotated[Path, value("The folder that the review page writes.", "DIR")],
    output: Annotated[
        str | None,
        value(
            'For export: JSONL rows {"id", "text", "labels"} for eval, optimize and calibrate; '
            '"-" writes stdout.',
            "FILE",
        ),
    ] = None,
    only_random: Annotated[
        bool,
        flag("--only-random", "For export: only texts that chance chose, which alone give honest figures."),
    ] = False,
) -> None:
    """Turn what people judged on the review page into gold, or sum it up."""
    from irr.io.outputs import check_output, open_output
    from irr.workbench.review.judgments import JudgmentStore, valid_judgments
    from irr.workbench.review.summary import export_gold

    if action == "export" and output is None:
        raise UsageError("no output", "give --output FILE")
    if not decisions.is_dir():
        raise InputError(decisions, "no such folder", "name the folder that irr serve --review writes")
    judgments = valid_judgments(JudgmentStore(decisions).judgments())
    if not judgments:
        raise InputError(decisions, "holds no judgments", "review some texts first: see irr serve")
    exported = export_gold(judgments, only_random)
    if output is None or action == "show":
        _show_reviewers(judgments)
    else:
        check_output(output)
        with open_output(output, *decisions.iterdir()) as out:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in exported.rows)
    for line in _lines(exported):
        (display.say if action == "show" else display.note)(line)


def _show_reviewers(judgments: Sequence[Judgment]) -> None:
    rows = []
    for name in sorted({judgment.reviewer for judgment in judgments}):
        own = [judgment for judgment in judgments if judgment.reviewer == name]
        verdicts = Counter[str](one.verdict for one in own)
        counts = (verdicts[verdict] for verdict in ("labels", "none_fits", "unsure"))
        rows.append((name, len(own), *counts, *(f"{one.at:%Y-%m-%d %H:%M}" for one in (own[0], own[-1]))))
    header = ("who", "texts", "labels", "no label fits", "unsure", "first", "last")
    display.table(header, rows, right=range(1, 5))


def _lines(exported: GoldExport) -> list[str]:
    rows = len(exported.rows)
    alone = " (--only-random exports them alone)" if exported.random < rows else ""
    chosen = f"{exported.random:,} of {counted(rows, 'text')} chosen by chance"
    lines = [f"{chosen}: only these give honest figures{alone}"]
    if exported.none_fits:
        lines.append(f"{counted(exported.none_fits, 'text')} that no label fits: without labels in the gold")
    if exported.unsure:
        lines.append(f"{counted(exported.unsure, 'text')} left out: people were unsure")
    if exported.disputed:
        lines.append(f"{counted(exported.disputed, 'text')} with labels that differ: the majority counts")
    if exported.shared:
        alpha = "cannot be told" if exported.alpha is None else f"{exported.alpha:.2f}"
        shared = counted(exported.shared, "text")
        lines.append(f"Krippendorff's alpha on {shared} of several people: {alpha}")
    return lines
