"""The command `irr audit`: which gold labels are probably wrong or missing, and which labels are unsound."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from irr.cli import display, options
from irr.cli.options import value
from irr.text.strings import counted, short

if TYPE_CHECKING:
    from irr.workbench.audit import Audit

_SHOWN = 10


def audit(
    gold: options.Gold,
    output: Annotated[
        str | None,
        value('Write all texts there as JSONL, the most suspicious first; "-" writes stdout.', "FILE"),
    ] = None,
    json_file: Annotated[
        str | None, value('Write what is wrong with labels there; "-" writes stdout.', "FILE", "--json")
    ] = None,
    labels: options.Labels = None,
    language: options.Language = None,
    columns: options.ColumnNames = None,
    encoder: options.Encoder = None,
    fields: options.Fields = None,
    hierarchy: options.HierarchyChoice = None,
    settings: options.SettingValues = None,
    index_folder: options.IndexFolder = None,
    index_server: options.IndexServer = None,
    lm: options.LM = None,
    api_base: options.APIBase = None,
    infer_lm: options.InferLM = None,
    rank_lm: options.RankLM = None,
    rank_method: options.RankMethodChoice = "auto",
    task: options.Task = None,
    program: options.Program = None,
    rebind: options.Rebind = False,
    within: options.Within = None,
    only: options.Only = None,
    without: options.Without = None,
) -> None:
    """Find gold labels that are probably wrong or missing, and labels that cannot be told apart."""
    from irr.cli.program_options import ProgramOptions
    from irr.io.outputs import check_outputs, open_output
    from irr.io.streams import STANDARD
    from irr.io.texts import GoldRow, read_rows
    from irr.workbench.audit import audit as run

    source = ProgramOptions.of(locals())
    outputs = {"--output": output, "--json": json_file}
    check_outputs(outputs)
    space = source.read_space()
    rows = [row for _, row in read_rows(gold, GoldRow, source.column_names)]
    source.note_language("texts", (row.text for row in rows))
    files = (gold, *source.files_read)
    with (
        open_output(output or os.devnull, *files) as out,
        open_output(json_file or os.devnull, *files) as json_out,
    ):
        built = source.build(space)
        with display.progress("texts", len(rows)) as on_text:
            result = run(built, rows, on_text=on_text)
        out.writelines(one.model_dump_json() + "\n" for one in result.suspects)
        json_out.write(result.model_dump_json(indent=2, exclude={"suspects"}) + "\n")
    if STANDARD not in outputs.values():
        _show_audit(result)


def _show_audit(result: Audit) -> None:
    rows = []
    for one in result.suspects[:_SHOWN]:
        first = one.findings[0] if one.findings else None
        cells = (first.kind, first.name, short(first.why, 90)) if first else ("", "", "")
        rows.append((short(f"{one.id}: {one.text}", 70), f"{one.suspicion:.2f}", *cells))
    header = ("text", "suspicion", "what", "label", "why")
    display.table(header, rows, "the most suspicious texts", right=(1,))
    supposed = "which supposes that a twentieth of all labels are wrong and as many missing"
    display.say(f"{counted(result.texts, 'text')} in the order of their suspicion, {supposed}")
    unknown = (f"{label}: {counted(count, 'text')}" for label, count in result.unknown.items())
    _show_list(unknown, "gold id", "gold ids", " that the label space lacks")
    twins = (
        f"{t.one.name} ({t.one.id}, {counted(t.texts[0], 'text')}) and {t.other.name} ({t.other.id}, "
        f"{t.texts[1]:,}): {t.why}"
        for t in result.twins
    )
    _show_list(twins, "pair", "pairs", " of labels that cannot be told apart")
    hubs = (
        f"{hub.label.name} ({hub.label.id}): {counted(hub.texts, 'text')}, {hub.right:,} right"
        for hub in result.hubs
    )
    _show_list(hubs, "label that is", "labels that are", " proposed for many texts and hardly ever right")
    orphans = (f"{one.label.name} ({one.label.id}): {counted(one.texts, 'text')}" for one in result.orphans)
    _show_list(orphans, "gold label that none of its", "gold labels that none of their", " texts reaches")
    if result.unreached:
        display.say(f"{counted(result.unreached, 'label is', 'labels are')} in the ranking of no text")


def _show_list(found: Iterable[str], one: str, many: str, title: str) -> None:
    """The first of some rows under their number and a title; nothing for none."""
    if rows := list(found):
        more = [f"and {len(rows) - _SHOWN:,} more: see --json FILE"] if len(rows) > _SHOWN else []
        display.say("\n  ".join([f"{counted(len(rows), one, many)}{title}:", *rows[:_SHOWN], *more]))
