"""The part of `irr draft` that finds gaps: texts and a label space in, changes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from irr.cli import display
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import note_language
from irr.errors import UsageError
from irr.text.strings import counted

if TYPE_CHECKING:
    from irr.cli.options.draft import DraftOptions
    from irr.labels.changes import Change
    from irr.workbench.draft.gaps import Seen

LANGUAGE_TEXTS = 50
_SHOWN_CHANGES = 20


def propose_changes(options: DraftOptions) -> None:
    """Writes what a label space lacks for some texts, as changes."""
    from irr.io.outputs import open_output
    from irr.workbench.draft.corpus import Corpus, texts_of
    from irr.workbench.draft.gaps import GapOptions, find_gaps, look

    given = {
        "--size": options.size,
        "--levels": options.levels,
        "--seed-labels": options.seed_labels,
        "--freeze": options.freeze,
        "--report": options.report,
        "--budget": options.budget,
        "--lm-texts": options.texts,
        "--seed": options.seed or None,
    }
    refuse(given, "--labels or --program is given")
    space = options.program.read_space()
    texts, unread = texts_of(options.input, options.program.column_names)
    note_language("texts", texts[:LANGUAGE_TEXTS], options.program.encoder_name)
    with open_output(options.output, Path(options.input), *options.program.reads) as out:
        program = options.program.build(space)
        with display.progress("texts encoded", None) as on_texts:
            corpus = Corpus.read(texts, program.encoder, on_texts)
        wanted = GapOptions()
        with display.progress("texts", len(corpus)) as on_text:
            seen = look(program, corpus, wanted, on_text)
        changes = find_gaps(program, seen, wanted)
        out.writelines(change.as_line() + "\n" for change in changes)
    _show_gaps(changes, seen, options.output)
    end(unread)


def _show_gaps(changes: Sequence[Change], seen: Seen, output: str) -> None:
    kinds = Counter(change.change for change in changes)
    if output != "-" and changes:
        rows = [
            (change.change, str(change), f"{change.evidence.get('texts', 0):,}")
            for change in changes[:_SHOWN_CHANGES]
        ]
        display.table(("change", "what", "texts"), rows, "the first changes proposed", right=(2,))
    proposed = (
        counted(kinds["new"], "new label"),
        counted(kinds["split"], "split"),
        counted(kinds["merge"], "merge"),
    )
    display.note(
        f"{int(seen.unsure.sum()):,} of {counted(len(seen.corpus), 'distinct text')} unsure; "
        f"proposed: {', '.join(proposed)}"
    )
    if output != "-" and changes:
        display.note(f"strike what is wrong, then: irr labels LABELS --apply {output} --output next.jsonl")


def refuse(given: Mapping[str, object], why: str, add: str = "") -> None:
    """Refuses options that would have no effect.

    Args:
        given: Their values by name; None where one was not given.
        why: Why they have none.
        add: What gives them one, if anything does.

    Raises:
        UsageError: If one was given.
    """
    for name, value in given.items():
        if value is not None:
            hint = f"add {add}, or leave {name} out" if add else f"leave {name} out"
            raise UsageError(f"{name} has no effect: {why}", hint)


def end(unread: int, stopped: bool = False) -> None:
    """Says how many rows could not be read, and ends the call with 1 if there are any, or it was stopped."""
    if unread:
        display.note(f"{counted(unread, 'row')} that could not be read, or held nothing to read")
    if unread or stopped:
        raise typer.Exit(EXIT_ROW_ERRORS)
