"""The command `irr labels`: the diagnostics of a label space."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.options import ColumnNames, Encoder, Language
from irr.errors import UsageError
from irr.text.strings import counted, short

if TYPE_CHECKING:
    from irr.labels.diagnostics import LabelDiagnostics, SharedTexts

_SHOWN_IDS = 3


@dataclass(frozen=True, kw_only=True)
class LabelsOptions:
    """The label file, and where to write labels and diagnostics."""

    file: Annotated[Path, Argument(help="A label file, as --labels takes it.", metavar="FILE")]
    output: Annotated[
        str | None,
        Option(
            help='Write the labels there as JSONL, which is read fastest; "-" writes stdout.', metavar="FILE"
        ),
    ] = None
    json_file: Annotated[
        str | None, Option("--json", help='Write the diagnostics there; "-" writes stdout.', metavar="FILE")
    ] = None
    apply: Annotated[
        Path | None,
        Option(
            help="Make these changes first: a file that irr draft --labels wrote, of which you may strike "
            "or edit lines. Give --output.",
            metavar="FILE",
        ),
    ] = None
    gold: Annotated[
        Path | None, Option(help="With --apply: texts with gold, to carry over.", metavar="FILE")
    ] = None
    gold_output: Annotated[
        str | None, Option(help="Where the gold of the next version goes, as JSONL.", metavar="FILE")
    ] = None
    language: Language = None
    columns: ColumnNames = None
    encoder: Encoder = None


@command("labels eurovoc.rdf.gz --language fi,en --output eurovoc.jsonl")
def labels(options: LabelsOptions) -> None:
    """Show a label space: its contents, its hierarchy, and what hurts retrieval."""
    from irr.encoders.base import DEFAULT_ENCODER
    from irr.encoders.window import open_window
    from irr.io.columns import Columns
    from irr.io.outputs import check_outputs, open_output
    from irr.io.streams import STANDARD
    from irr.io.texts import read_gold
    from irr.labels.changes import apply, carry_gold, read_changes
    from irr.labels.diagnostics import survey
    from irr.labels.space import LabelSpace

    outputs = {
        "--output": options.output,
        "--json": options.json_file,
        "--gold-output": options.gold_output,
    }
    check_outputs(outputs)
    _check(options)
    window = open_window(options.encoder)
    columns = Columns.parse(options.columns)
    space = LabelSpace.read(options.file, options.language, columns)
    changes = read_changes(options.apply) if options.apply else []
    rows = read_gold(options.gold, space, columns) if options.gold else []
    reads = (options.file, options.apply, options.gold)
    with (
        open_output(options.output or os.devnull, *reads) as out,
        open_output(options.json_file or os.devnull, *reads) as diagnostics,
        open_output(options.gold_output or os.devnull, *reads) as gold,
    ):
        display.skos(options.file, space.counts)
        if options.apply:
            space = apply(space, changes)
            display.note(f"{counted(len(changes), 'change')} made: {counted(len(space), 'label')}")
            gold.writelines(row.model_dump_json() + "\n" for row in carry_gold(rows, changes))
        out.writelines(label.model_dump_json(exclude_defaults=True) + "\n" for label in space)
        found = survey(space, window, only_english=options.encoder in (None, DEFAULT_ENCODER))
        diagnostics.write(found.model_dump_json(indent=2) + "\n")
    if STANDARD not in outputs.values():
        _show(found)


def _check(options: LabelsOptions) -> None:
    if options.apply and not options.output:
        raise UsageError("--apply makes another version of the labels", "say where to, with --output FILE")
    if bool(options.gold) != bool(options.gold_output):
        raise UsageError("gold is carried over from one file to another", "give --gold and --gold-output")
    if options.gold and not options.apply:
        raise UsageError("gold is carried over with changes", "give --apply FILE")


def _show(found: LabelDiagnostics) -> None:
    _show_counts(found)
    if found.tree.with_parents:
        _show_tree(found)
    _show_lengths(found)
    _show_shared("names of several labels", found.shared_names)
    _show_shared("aliases of several labels, or names of others", found.shared_aliases)
    if examples := [
        (what, f"{count:,}", _short(", ".join(texts))) for what, count, texts in _examples(found)
    ]:
        display.table(("what", "labels", "examples"), examples, "look at", right=(1,))
    for warning in found.warnings:
        display.say(f"• {warning}", style="yellow")


def _show_counts(found: LabelDiagnostics) -> None:
    from irr.labels.skos import UNTAGGED

    counts = [
        ("with aliases", found.with_aliases, counted(found.aliases, "alias", "aliases")),
        ("with a description", found.with_description, ""),
        ("with parents", found.tree.with_parents, f"{found.tree.several_parents:,} with several"),
        ("with a prior", found.with_prior, ""),
    ]
    for language, count in found.read.named_in.items() if found.read else ():
        said = "language not said" if language == UNTAGGED else f"named in {language}"
        counts.append((said, count, ""))
    rows = (
        (what, f"{count:,} ({count / found.labels:.0%})", more if count else "")
        for what, count, more in counts
    )
    display.table(("labels", f"{found.labels:,}", ""), rows, "what is in it", right=(1,))


def _show_tree(found: LabelDiagnostics) -> None:
    tree = found.tree
    rows = [(str(depth), f"{count:,}", "") for depth, count in tree.depths.items()]
    if 0 in tree.depths:
        rows[0] = (*rows[0][:2], f"{tree.roots:,} roots, {tree.alone:,} alone")
    if tree.unreachable:
        rows.append(("under no root", f"{tree.unreachable:,}", "in or under cycles"))
    display.table(("steps from a root", "labels", ""), rows, "how it hangs together", right=(1,))


def _show_lengths(found: LabelDiagnostics) -> None:
    title = f"length in {found.unit}"
    if found.window:
        title += f"; the encoder reads {found.window}"
    rows = []
    for what, lengths in (("names", found.names), ("descriptions", found.descriptions)):
        if lengths.longest:
            length, text = lengths.longest[0]
            cut = "" if lengths.cut is None else f"{lengths.cut:,}"
            rows.append((what, f"{lengths.median:,}", f"{length:,}", cut, _short(text)))
    display.table(("of", "median", "longest", "cut", "the longest"), rows, title, right=(1, 2, 3))


def _show_shared(title: str, shared: SharedTexts) -> None:
    if not shared.texts:
        return
    rows = (
        (
            *(_short(example.text), f"{len(example.ids):,}"),
            ", ".join(example.ids[:_SHOWN_IDS]) + (", …" if len(example.ids) > _SHOWN_IDS else ""),
        )
        for example in shared.examples
    )
    title += f": {shared.texts:,}, carried by {shared.labels:,} labels"
    display.table(("text", "labels", "ids"), rows, title, right=(1,))


def _examples(found: LabelDiagnostics) -> Iterable[tuple[str, int, tuple[str, ...]]]:
    cycles = found.tree.in_cycles
    unknown = found.tree.unknown_parents
    plain = found.without_description
    rows = (
        # Shown only if other labels have one.
        ("without a description", plain.count if found.with_description else 0, plain.examples),
        ("share a name, nothing tells apart", found.indistinct.count, found.indistinct.examples),
        ("names that look like codes", found.codes.count, found.codes.examples),
        ("a parent that is not a label", unknown.count, tuple(f"{a} → {b}" for a, b in unknown.examples)),
        ("their own ancestors", cycles.count, tuple(" → ".join((*c, c[0])) for c in cycles.examples)),
    )
    return (row for row in rows if row[1])


def _short(text: str) -> str:
    return short(text, 100)
