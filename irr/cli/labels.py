"""The command `irr labels`: the diagnostics of a label space."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from rich.text import Text
from typer import Argument, Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.options import ColumnNames, Encoder, Language

if TYPE_CHECKING:
    from irr.labels.diagnostics import LabelDiagnostics, Lengths, SharedTexts

_SHOWN_IDS = 3


@dataclass(frozen=True, kw_only=True)
class LabelsOptions:
    """Which labels to look at, and where to write them."""

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
    language: Language = None
    columns: ColumnNames = None
    encoder: Encoder = None


@command("labels eurovoc.rdf.gz --language fi,en --output eurovoc.jsonl")
def labels(options: LabelsOptions) -> None:
    """Show a label space: what is in it, how it hangs together, and what of it hurts retrieval."""
    from irr.encoders.base import DEFAULT_ENCODER
    from irr.encoders.window import open_window
    from irr.io.columns import Columns
    from irr.io.outputs import check_outputs, open_output
    from irr.io.streams import STANDARD
    from irr.labels.diagnostics import survey
    from irr.labels.space import LabelSpace

    outputs = {"--output": options.output, "--json": options.json_file}
    check_outputs(outputs)
    window = open_window(options.encoder)
    space = LabelSpace.read(options.file, options.language, Columns.parse(options.columns))
    with (
        open_output(options.output or os.devnull, options.file) as out,
        open_output(options.json_file or os.devnull, options.file) as diagnostics,
    ):
        display.skos(options.file, space.counts)
        out.writelines(label.model_dump_json(exclude_defaults=True) + "\n" for label in space)
        found = survey(space, window, only_english=options.encoder in (None, DEFAULT_ENCODER))
        diagnostics.write(found.model_dump_json(indent=2) + "\n")
    if STANDARD not in outputs.values():
        _show(found)


def _show(found: LabelDiagnostics) -> None:
    display.show(_counts(found))
    if found.tree.with_parents:
        display.show(_tree(found))
    display.show(_lengths(found))
    for title, shared in (
        ("names of several labels", found.shared_names),
        ("aliases of several labels, or names of others", found.shared_aliases),
    ):
        if shared.texts:
            display.show(_shared(title, shared))
    if examples := list(_examples(found)):
        table = Table("what", "labels", "examples", title="look at")
        table.columns[1].justify = "right"
        for what, count, texts in examples:
            table.add_row(what, f"{count:,}", Text(_short(", ".join(texts))))
        display.show(table)
    for warning in found.warnings:
        display.say(f"• {warning}", style="yellow")


def _counts(found: LabelDiagnostics) -> Table:
    from irr.labels.skos.languages import UNTAGGED

    table = Table("labels", f"{found.labels:,}", "", title="what is in it")
    rows = (
        ("with aliases", found.with_aliases, f"{found.aliases:,} aliases"),
        ("with a description", found.with_description, ""),
        ("with parents", found.tree.with_parents, f"{found.tree.several_parents:,} with several"),
        ("with a prior", found.with_prior, ""),
    )
    for what, count, more in rows:
        table.add_row(what, f"{count:,} ({count / found.labels:.0%})", more if count else "")
    if found.read:
        for language, count in found.read.named_in.items():
            said = "language not said" if language == UNTAGGED else f"named in {language}"
            table.add_row(said, f"{count:,} ({count / found.labels:.0%})", "")
    table.columns[1].justify = "right"
    return table


def _tree(found: LabelDiagnostics) -> Table:
    tree = found.tree
    table = Table("steps from a root", "labels", "", title="how it hangs together")
    table.columns[1].justify = "right"
    for depth, count in tree.depths.items():
        more = f"{tree.roots:,} roots, {tree.alone:,} alone" if depth == 0 else ""
        table.add_row(str(depth), f"{count:,}", more)
    if tree.unreachable:
        table.add_row("under no root", f"{tree.unreachable:,}", "in or under cycles")
    return table


def _lengths(found: LabelDiagnostics) -> Table:
    title = f"length in {found.unit}"
    if found.window:
        title += f"; the encoder reads {found.window}"
    table = Table("of", "median", "longest", "cut", "the longest", title=title)
    for column in table.columns[1:4]:
        column.justify = "right"
    for what, lengths in (("names", found.names), ("descriptions", found.descriptions)):
        if lengths.longest:
            table.add_row(what, *_row(lengths))
    return table


def _row(lengths: Lengths) -> tuple[str, str, str, Text]:
    length, text = lengths.longest[0]
    cut = "" if lengths.cut is None else f"{lengths.cut:,}"
    return f"{lengths.median:,}", f"{length:,}", cut, Text(_short(text))


def _shared(title: str, shared: SharedTexts) -> Table:
    table = Table(
        "text", "labels", "ids", title=f"{title}: {shared.texts:,}, carried by {shared.labels:,} labels"
    )
    table.columns[1].justify = "right"
    for example in shared.examples:
        ids = ", ".join(example.ids[:_SHOWN_IDS]) + (", …" if len(example.ids) > _SHOWN_IDS else "")
        table.add_row(Text(_short(example.text)), f"{len(example.ids):,}", Text(ids))
    return table


def _examples(found: LabelDiagnostics) -> Iterable[tuple[str, int, tuple[str, ...]]]:
    cycles = found.tree.in_cycles
    unknown = found.tree.unknown_parents
    plain = found.without_description
    rows = (
        # Where none has one there is nothing to look at.
        ("without a description", plain.count if found.with_description else 0, plain.examples),
        ("share a name, nothing tells apart", found.indistinct.count, found.indistinct.examples),
        ("names that look like codes", found.codes.count, found.codes.examples),
        ("a parent that is no label", unknown.count, tuple(f"{a} → {b}" for a, b in unknown.examples)),
        ("above themselves", cycles.count, tuple(" → ".join((*c, c[0])) for c in cycles.examples)),
    )
    return (row for row in rows if row[1])


def _short(text: str) -> str:
    return display.short(text, 100)
