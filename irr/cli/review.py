"""The command `irr review`: what people judged on the review page, as gold or as a summary."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from irr.cli import display
from irr.cli.command import command
from irr.errors import UsageError
from irr.text.strings import counted

if TYPE_CHECKING:
    from irr.workbench.review.export import Exported
    from irr.workbench.review.judgment import Judgment


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """Which judgments to read, and what to make of them."""

    action: Annotated[
        Literal["export", "show"],
        Argument(help="export writes gold, show says how much was judged, by whom, and how alike."),
    ] = "show"
    decisions: Annotated[Path, Option(help="The folder that the review page writes.", metavar="DIR")]
    output: Annotated[
        str | None,
        Option(
            help='For export: JSONL rows {"id", "text", "labels"} for eval, optimize and calibrate; '
            '"-" writes stdout.',
            metavar="FILE",
        ),
    ] = None
    only_random: Annotated[
        bool, Option(help="For export: only texts that chance chose, which alone give honest figures.")
    ] = False


@command("review export --decisions judgments --output gold.jsonl")
def review(options: ReviewOptions) -> None:
    """Turn what people judged on the review page into gold, or sum it up."""
    import json

    from irr.errors import InputError
    from irr.io.outputs import check_output, open_output
    from irr.workbench.review.export import export
    from irr.workbench.review.judgment import standing
    from irr.workbench.review.store import JudgmentStore

    if options.action == "export" and options.output is None:
        raise UsageError("no output", "give --output FILE")
    if not options.decisions.is_dir():
        hint = "name the folder that irr serve --review writes"
        raise InputError(options.decisions, "no such folder", hint)
    store = JudgmentStore(options.decisions)
    judged = standing(store.judgments())
    if not judged:
        raise InputError(options.decisions, "holds no judgments", "review some texts first: see irr serve")
    found = export(judged, options.only_random)
    if options.action == "show":
        _show(judged, found)
        return
    assert options.output is not None
    check_output(options.output)
    with open_output(options.output, *options.decisions.iterdir()) as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in found.rows)
    for line in _lines(found):
        display.note(line)


def _show(judged: list[Judgment], found: Exported) -> None:
    rows = []
    for name in sorted({one.reviewer for one in judged}):
        mine = [one for one in judged if one.reviewer == name]
        verdicts = [
            sum(one.verdict == verdict for one in mine) for verdict in ("labels", "none_fits", "unsure")
        ]
        days = [f"{at:%Y-%m-%d %H:%M}" for at in (mine[0].at, mine[-1].at)]
        rows.append((name, f"{len(mine):,}", *(f"{count:,}" for count in verdicts), *days))
    header = ("who", "texts", "labels", "no label fits", "unsure", "first", "last")
    display.table(header, rows, right=range(1, 5))
    for line in _lines(found):
        display.say(line)


def _lines(found: Exported) -> list[str]:
    rows = len(found.rows)
    lines = [
        f"{found.random:,} of {counted(rows, 'text')} chosen by chance: only these give honest figures"
        + (" (--only-random exports them alone)" if found.random < rows else ""),
    ]
    if found.none_fits:
        lines.append(f"{counted(found.none_fits, 'text')} that no label fits: without labels in the gold")
    if found.unsure:
        lines.append(f"{counted(found.unsure, 'text')} left out: people were unsure")
    if found.disputed:
        lines.append(f"{counted(found.disputed, 'text')} with labels that differ: the majority counts")
    if found.shared:
        alpha = "cannot be told" if found.alpha is None else f"{found.alpha:.2f}"
        lines.append(f"Krippendorff's alpha on {counted(found.shared, 'text')} of several people: {alpha}")
    return lines
