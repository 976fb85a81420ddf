"""Shows the progress of a batch: live on a terminal, one line a minute in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn

from irr.batch import Price, Tally
from irr.cli import display
from irr.text.strings import counted

_LOG_SECONDS, _LIVE_SECONDS = 60.0, 0.2

# The first tally, the share of the input that was done then, and the time.
Start = tuple[Tally, float | None, float]


@contextmanager
def batch_monitor(price: Price | None) -> Iterator[Callable[[Tally, float | None], None]]:
    """Yields a function that is given the tally after each row, and the share of the input that is done."""
    live = display.stderr.is_terminal
    columns = BarColumn(bar_width=20), TextColumn("{task.description}")
    first: Start | None = None
    last_shown = 0.0
    with display.bar(Progress(*columns, console=display.stderr, transient=True)) as bar:
        task = bar.add_task("", total=None)

        def watch(tally: Tally, share: float | None) -> None:
            nonlocal first, last_shown
            now = time.monotonic()
            if first is None:
                # The pace of a resumed run counts new rows only.
                first, last_shown = (tally, share, now), now
                if live:
                    bar.start()
            if now - last_shown < (_LIVE_SECONDS if live else _LOG_SECONDS):
                return
            last_shown = now
            line = _progress_line(tally, share, first, now, price)
            if live:
                total = None if share is None else 1.0
                bar.update(task, description=line, completed=share or 0.0, total=total)
            else:
                display.note(line)

        yield watch


def _progress_line(tally: Tally, share: float | None, start: Start, now: float, price: Price | None) -> str:
    first, first_share, began = start
    seconds = max(now - began, 1e-9)
    parts = [counted(tally.texts, "text"), f"{(tally.texts - first.texts) / seconds:,.1f}/s"]
    if tally.errors:
        parts.append(counted(tally.errors, "error"))
    if tally.fallbacks:
        parts.append(f"{tally.fallbacks:,} without the model")
    usage = tally.usage
    if usage.calls:
        tokens, before = (used.prompt_tokens + used.completion_tokens for used in (usage, first.usage))
        cached = usage.cached_tokens / usage.prompt_tokens if usage.prompt_tokens else 0.0
        parts.append(f"{(tokens - before) / seconds:,.0f} tokens/s ({cached:.0%} cached)")
        if price:
            parts.append(f"price {price.of(usage):,.2f}")
    if share is not None and first_share is not None and share > first_share:
        parts.append(f"{display.duration((1 - share) / (share - first_share) * seconds)} left")
    return ", ".join(parts)
