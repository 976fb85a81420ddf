"""The command `irr audit`: which gold labels are probably wrong or missing, and which labels are unsound."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from rich.text import Text
from typer import Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.options import ProgramOptions, note_language
from irr.text.strings import counted, short

if TYPE_CHECKING:
    from irr.workbench.audit.audit import Audit

_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """Which gold to audit, and where to write what is found."""

    gold: Annotated[
        Path, Option(help='JSONL rows {"id", "text", "labels": ["ID"]}, or a table.', metavar="FILE")
    ]
    output: Annotated[
        str | None,
        Option(
            help='Write all texts there as JSONL, the most suspicious first; "-" writes stdout.',
            metavar="FILE",
        ),
    ] = None
    json_file: Annotated[
        str | None,
        Option("--json", help='Write what is wrong with labels there; "-" writes stdout.', metavar="FILE"),
    ] = None
    program: ProgramOptions


@command("audit --labels skills.jsonl --gold gold.jsonl --output suspects.jsonl")
def audit(options: AuditOptions) -> None:
    """Find gold labels that are probably wrong or missing, and labels that cannot be told apart."""
    from irr.io.outputs import check_outputs, open_output
    from irr.io.streams import STANDARD
    from irr.io.texts import GoldRow, read_rows
    from irr.workbench.audit.audit import audit as run

    outputs = {"--output": options.output, "--json": options.json_file}
    check_outputs(outputs)
    source = options.program
    space = source.read_space()
    rows = [row for _, row in read_rows(options.gold, GoldRow, source.column_names)]
    note_language("texts", (row.text for row in rows), source.encoder_name)
    read = (options.gold, *source.reads)
    with (
        open_output(options.output or os.devnull, *read) as suspects,
        open_output(options.json_file or os.devnull, *read) as whole,
    ):
        program = source.build(space)
        with display.progress("texts", len(rows)) as on_text:
            found = run(program, rows, index_folder=source.index_folder, on_text=on_text)
        suspects.writelines(one.model_dump_json() + "\n" for one in found.suspects)
        whole.write(found.model_dump_json(indent=2, exclude={"suspects"}) + "\n")
    if STANDARD not in outputs.values():
        _show(found)


def _show(found: Audit) -> None:
    table = Table("text", "suspicion", "what", "label", "why", title="the most suspicious texts")
    table.columns[1].justify = "right"
    for one in found.suspects[:_SHOWN]:
        first = one.findings[0] if one.findings else None
        cells = (first.kind, first.name, short(first.why, 90)) if first else ("", "", "")
        text = Text(short(f"{one.id}: {one.text}", 70))
        table.add_row(text, f"{one.suspicion:.2f}", *map(Text, cells))
    display.show(table)
    display.say(
        f"{counted(found.texts, 'text')} in the order of their suspicion, which supposes that a twentieth of "
        "all labels are wrong and as many missing"
    )
    for title, rows in _sections(found):
        if rows:
            display.say(f"{counted(len(rows), *title)}:")
            for row in rows[:_SHOWN]:
                display.say(f"  {row}")
            if len(rows) > _SHOWN:
                display.say(f"  and {len(rows) - _SHOWN:,} more: see --json FILE")
    if found.unreached:
        display.say(f"{counted(found.unreached, 'label is', 'labels are')} in the ranking of no text")


def _sections(found: Audit) -> Iterator[tuple[tuple[str, str], list[str]]]:
    yield (
        ("gold id that the label space lacks", "gold ids that the label space lacks"),
        [f"{label}: {counted(count, 'text')}" for label, count in found.unknown.items()],
    )
    yield (
        ("pair of labels that cannot be told apart", "pairs of labels that cannot be told apart"),
        [
            f"{t.one.name} ({t.one.id}, {counted(t.texts[0], 'text')}) and {t.other.name} ({t.other.id}, "
            f"{t.texts[1]:,}): {t.why}"
            for t in found.twins
        ],
    )
    yield (
        (
            "label that is proposed for many texts and hardly ever right",
            "labels that are proposed for many texts and hardly ever right",
        ),
        [
            f"{hub.label.name} ({hub.label.id}): {counted(hub.texts, 'text')}, {hub.right:,} right"
            for hub in found.hubs
        ],
    )
    yield (
        ("gold label that none of its texts reaches", "gold labels that none of their texts reaches"),
        [f"{one.label.name} ({one.label.id}): {counted(one.texts, 'text')}" for one in found.orphans],
    )
