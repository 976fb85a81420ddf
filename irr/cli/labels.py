"""The command `irr labels`: the diagnostics of a label space."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument

import irr
from irr.cli import display, options
from irr.cli.options import value
from irr.text.strings import counted, short

if TYPE_CHECKING:
    from irr.labels.diagnostics import LabelDiagnostics, SharedTexts

_SHOWN_IDS = 3


def labels(
    file: Annotated[Path, Argument(help="A label file, as --labels takes it.", metavar="FILE")],
    output: Annotated[
        str | None,
        value('Write the labels there as JSONL, which is read fastest; "-" writes stdout.', "FILE"),
    ] = None,
    json_file: Annotated[
        str | None, value('Write the diagnostics there; "-" writes stdout.', "FILE", "--json")
    ] = None,
    language: options.Language = None,
    columns: options.ColumnNames = None,
    encoder: options.Encoder = None,
) -> None:
    """Show a label space: its contents, its hierarchy, and what hurts retrieval."""
    from irr.encoders.base import DEFAULT_ENCODER
    from irr.encoders.sentence_transformers import open_window
    from irr.io.columns import Columns
    from irr.io.outputs import check_outputs, open_output
    from irr.io.streams import STANDARD
    from irr.labels.diagnostics import survey

    outputs = {"--output": output, "--json": json_file}
    check_outputs(outputs)
    window = open_window(encoder)
    space = irr.LabelSpace.read(file, language, Columns.parse(columns))
    with (
        open_output(output or os.devnull, file) as out,
        open_output(json_file or os.devnull, file) as json_out,
    ):
        display.skos(file, space.counts)
        out.writelines(label.model_dump_json(exclude_defaults=True) + "\n" for label in space)
        diagnostics = survey(space, window, only_english=encoder in (None, DEFAULT_ENCODER))
        json_out.write(diagnostics.model_dump_json(indent=2) + "\n")
    if STANDARD not in outputs.values():
        _show_diagnostics(diagnostics)


def _show_diagnostics(diagnostics: LabelDiagnostics) -> None:
    _show_contents(diagnostics)
    if diagnostics.tree.with_parents:
        _show_tree(diagnostics)
    _show_lengths(diagnostics)
    _show_shared("names of several labels", diagnostics.shared_names)
    _show_shared("aliases of several labels, or names of others", diagnostics.shared_aliases)
    cycles, unknown = diagnostics.tree.in_cycles, diagnostics.tree.unknown_parents
    plain = diagnostics.without_description
    problems = (
        # Shown only if other labels have one.
        ("without a description", plain.count if diagnostics.with_description else 0, plain.examples),
        ("share a name, nothing tells apart", diagnostics.indistinct.count, diagnostics.indistinct.examples),
        ("names that look like codes", diagnostics.codes.count, diagnostics.codes.examples),
        ("a parent that is not a label", unknown.count, [f"{a} → {b}" for a, b in unknown.examples]),
        ("their own ancestors", cycles.count, [" → ".join((*c, c[0])) for c in cycles.examples]),
    )
    rows = [(what, count, _short(", ".join(examples))) for what, count, examples in problems if count]
    if rows:
        display.table(("what", "labels", "examples"), rows, "look at", right=(1,))
    for warning in diagnostics.warnings:
        display.say(f"• {warning}", style="yellow")


def _show_contents(diagnostics: LabelDiagnostics) -> None:
    from irr.labels.skos import UNTAGGED

    counts = [
        ("with aliases", diagnostics.with_aliases, counted(diagnostics.aliases, "alias", "aliases")),
        ("with a description", diagnostics.with_description, ""),
        ("with parents", diagnostics.tree.with_parents, f"{diagnostics.tree.several_parents:,} with several"),
        ("with a prior", diagnostics.with_prior, ""),
    ]
    for language, count in diagnostics.read.named_in.items() if diagnostics.read else ():
        named = "language not said" if language == UNTAGGED else f"named in {language}"
        counts.append((named, count, ""))
    whole = diagnostics.labels
    rows = ((what, f"{n:,} ({n / whole:.0%})", more if n else "") for what, n, more in counts)
    display.table(("labels", f"{whole:,}", ""), rows, "what is in it", right=(1,))


def _show_tree(diagnostics: LabelDiagnostics) -> None:
    tree = diagnostics.tree
    roots = f"{tree.roots:,} roots, {tree.alone:,} alone"
    rows: list[tuple[object, ...]] = [(steps, n, "" if steps else roots) for steps, n in tree.depths.items()]
    if tree.unreachable:
        rows.append(("under no root", tree.unreachable, "in or under cycles"))
    display.table(("steps from a root", "labels", ""), rows, "how it hangs together", right=(1,))


def _show_lengths(diagnostics: LabelDiagnostics) -> None:
    rows = []
    for what, lengths in (("names", diagnostics.names), ("descriptions", diagnostics.descriptions)):
        if lengths.longest:
            length, text = lengths.longest[0]
            cut = "" if lengths.cut is None else lengths.cut
            rows.append((what, lengths.median, length, cut, _short(text)))
    read = f"; the encoder reads {diagnostics.window}" if diagnostics.window else ""
    title = f"length in {diagnostics.unit}{read}"
    display.table(("of", "median", "longest", "cut", "the longest"), rows, title, right=(1, 2, 3))


def _show_shared(title: str, shared: SharedTexts) -> None:
    if shared.texts:
        rows = []
        for example in shared.examples:
            more = ", …" if len(example.ids) > _SHOWN_IDS else ""
            rows.append((_short(example.text), len(example.ids), ", ".join(example.ids[:_SHOWN_IDS]) + more))
        title += f": {shared.texts:,}, carried by {shared.labels:,} labels"
        display.table(("text", "labels", "ids"), rows, title, right=(1,))


def _short(text: str) -> str:
    return short(text, 100)
