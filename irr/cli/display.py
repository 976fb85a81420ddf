"""What commands show: progress and notes on stderr, tables on stdout, and nothing that steers a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from irr.text.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

    from irr.config import Settings
    from irr.labels.skos.counts import SkosCounts
    from irr.types import Costs


class _PrintableConsole(Console):
    """A console on which text of any origin is only ever text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(printable, segment.text.split("\n"))), segment.style)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError(32, "nobody reads the output")


stdout = _PrintableConsole(highlight=False)
stderr = _PrintableConsole(stderr=True, highlight=False)


def show(renderable: RenderableType) -> None:
    """A table on stdout."""
    stdout.print(renderable)


def say(line: str, style: str | None = None) -> None:
    """One line on stdout, whatever names stand in it."""
    stdout.print(line, markup=False, emoji=False, soft_wrap=True, style=style)


def note(message: str) -> None:
    """One line on stderr, never wrapped, colored or cut, whatever names stand in it."""
    stderr.print(printable(message), markup=False, emoji=False, soft_wrap=True)


def skos(path: Path, counts: SkosCounts | None) -> None:
    """What was read of a SKOS file, and what was not; nothing for other files."""
    if counts is None:
        return
    languages = ", ".join(f"{tag} {n:,}" for tag, n in counts.named_in.items())
    note(f"{path}: {counts.labels:,} labels of {counts.concepts:,} concepts; named in {languages}")
    left = {
        "deprecated concepts": counts.deprecated,
        "concepts without a name": counts.unnamed,
        "concepts without an address": counts.blank,
        "parents that are no label here": counts.parents_dropped,
        "concept schemes": counts.schemes,
        "collections": counts.collections,
        "named things of other kinds": counts.others,
    }
    if any(left.values()):
        note("left out: " + ", ".join(f"{n:,} {what}" for what, n in left.items() if n))
    if counts.fallbacks:
        asked = ", ".join(counts.languages)
        note(f"{counts.fallbacks:,} labels have no name in {asked}: theirs is in another language")
    if counts.language_hint:
        note(counts.language_hint)


def costs(of: Costs) -> Iterator[str]:
    """What language-model calls cost, one line a stage."""
    for stage, usage in (("infer", of.infer), ("rank", of.rank)):
        if usage.calls:
            share = usage.cached_tokens / usage.prompt_tokens if usage.prompt_tokens else 0.0
            yield (
                f"{stage}: {usage.calls:,} calls, {usage.prompt_tokens:,} prompt tokens "
                f"({share:.0%} cached), {usage.completion_tokens:,} completion tokens, "
                f"{usage.seconds:,.1f} s waited"
            )


def without_model(fallbacks: int, texts: int) -> str:
    """What stands first where too many texts were answered without their language model."""
    return (
        f"{fallbacks:,} of {texts:,} texts did WITHOUT THE LANGUAGE MODEL: "
        "theirs are the answers of the program without it"
    )


def changed(settings: Settings) -> str:
    """The settings that are not the default ones."""
    differ = settings.difference(type(settings)())
    return ", ".join(f"{name}={value}" for name, (value, _) in differ.items()) or "none"


def duration(seconds: float) -> str:
    """A time in the unit that people would use."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"


def short(text: str, width: int) -> str:
    """The text on one line of at most `width` characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 1]}…"


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr that shows itself at the first call of what it yields.

    What it yields takes (done, in all), or nothing for one more of `total`.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            # Over the whole run: texts come in groups, so that the rate of the last few means nothing.
            speed = task.completed / task.elapsed if task.elapsed else 0.0
            return Text(f"{speed:,.1f}/s", style="progress.data.speed")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=stderr)
    task = bar.add_task(what, total=total)

    def advance(done: int | None = None, out_of: int | None = total) -> None:
        bar.start()
        if done is None:
            bar.advance(task)
        else:
            bar.update(task, completed=done, total=out_of)

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()
