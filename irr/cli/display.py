"""Shows progress and notes on stderr, and results on stdout, all as printable text."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

import irr
from irr.text.strings import counted, printable

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress

    from irr.labels.skos import SkosCounts
    from irr.types import Costs, Usage


class _PrintableConsole(Console):
    """A console that writes control characters in names as escapes."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(printable, segment.text.split("\n"))), segment.style)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(32, "nobody reads the output")


stdout = _PrintableConsole(markup=False, emoji=False, highlight=False)
stderr = _PrintableConsole(markup=False, emoji=False, highlight=False, stderr=True)


def table(
    header: Sequence[str], rows: Iterable[Sequence[object]], title: str = "", right: Container[int] = ()
) -> None:
    """A table on stdout, its columns `right` right-aligned; a header of empty strings is left out."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=Text(title) if title else None, show_header=any(header))
    for number, name in enumerate(header):
        grid.add_column(Text(name), justify="right" if number in right else "left")
    for row in rows:
        grid.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    stdout.print(grid)


def say(line: str, style: str | None = None) -> None:
    """One line on stdout."""
    stdout.print(line, soft_wrap=True, style=style)


def note(message: str) -> None:
    """One line on stderr."""
    stderr.print(printable(message), soft_wrap=True)


def skos(path: Path, counts: SkosCounts | None) -> None:
    """Notes what was read of a SKOS file and what was left out; nothing for other files."""
    if counts is None:
        return
    languages = ", ".join(f"{tag} {n:,}" for tag, n in counts.named_in.items())
    concepts = counted(counts.concepts, "concept")
    note(f"{path}: {counted(counts.labels, 'label')} of {concepts}; named in {languages}")
    left_out = {
        "deprecated concepts": counts.deprecated,
        "concepts without a name": counts.unnamed,
        "concepts without an address": counts.blank,
        "parents that are not labels": counts.parents_dropped,
        "concept schemes": counts.schemes,
        "collections": counts.collections,
        "named things of other kinds": counts.others,
    }
    if any(left_out.values()):
        note("left out: " + ", ".join(f"{n:,} {what}" for what, n in left_out.items() if n))
    if counts.fallbacks:
        asked = ", ".join(counts.languages)
        note(f"{counted(counts.fallbacks, 'label')} without a name in {asked}, named in another language")
    if counts.language_hint:
        note(counts.language_hint)


def costs(of: Costs) -> list[str]:
    """The usage of language models, one line a stage."""
    return [usage(stage, used) for stage, used in of if used.calls]


def usage(whose: str, used: Usage) -> str:
    """The usage of language models in one line."""
    share = used.cached_tokens / used.prompt_tokens if used.prompt_tokens else 0.0
    return (
        f"{whose}: {counted(used.calls, 'call')}, {used.prompt_tokens:,} prompt tokens ({share:.0%} cached), "
        f"{used.completion_tokens:,} completion tokens, {used.seconds:,.1f} s waited"
    )


def without_model(fallbacks: int, texts: int) -> str:
    """The warning that too many texts were answered without their language model."""
    answered = f"{fallbacks:,} of {counted(texts, 'text')} answered WITHOUT THE LANGUAGE MODEL"
    return f"{answered}: see the reason in their rows, and correct it"


def changed(settings: irr.Settings) -> str:
    """The settings that differ from the defaults."""
    differ = settings.difference(irr.Settings())
    return ", ".join(f"{name}={value}" for name, (value, _) in differ.items()) or "none"


def duration(seconds: float) -> str:
    """A duration in a readable unit."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"


@contextmanager
def bar(progress: Progress) -> Iterator[Progress]:
    """Stops a progress bar at the end of the block, if it was started in it."""
    try:
        yield progress
    finally:
        if progress.live.is_started:
            progress.stop()


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    """Yields a function that advances a progress bar: by one step, or to (done, in all)."""
    from rich import progress as rich
    from rich.text import Text

    class Rate(rich.ProgressColumn):
        def render(self, task: rich.Task) -> Text:
            # The mean over the whole run, because texts are answered in groups.
            speed = task.completed / task.elapsed if task.elapsed else 0.0
            return Text(f"{speed:,.1f}/s", style="progress.data.speed")

    name, count = rich.TextColumn("{task.description}", markup=False), rich.MofNCompleteColumn()
    columns = name, rich.BarColumn(), count, Rate(), rich.TimeRemainingColumn()
    with bar(rich.Progress(*columns, console=stderr)) as shown:
        task = shown.add_task(what, total=total)

        def advance(done: int | None = None, out_of: int | None = total) -> None:
            shown.start()
            if done is None:
                shown.advance(task)
            else:
                shown.update(task, completed=done, total=out_of)
            if shown.finished:
                shown.stop()  # makes room for the next bar

        yield advance
