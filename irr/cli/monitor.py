"""Shows the progress of a batch: live on a terminal, one line a minute in a log."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, Progress, TextColumn

from irr.batch import Price, Tally
from irr.cli import display
from irr.text.numbers import counted

_LOG_SECONDS, _LIVE_SECONDS = 60.0, 0.2


class Monitor:
    """Shows the tally of a run, and the remaining time.

    Args:
        price: The price of tokens, if known.
    """

    def __init__(self, price: Price | None) -> None:
        self._price = price
        self._live = display.stderr.is_terminal
        self._bar = Progress(
            BarColumn(bar_width=20), TextColumn("{task.description}"), console=display.stderr, transient=True
        )
        self._task = self._bar.add_task("", total=None)
        self._first: tuple[Tally, float | None, float] | None = None
        self._shown = 0.0

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._bar.stop()

    def __call__(self, tally: Tally, share: float | None) -> None:
        """Records one row more, and shows the progress from time to time."""
        now = time.monotonic()
        if self._first is None:
            # The pace of a resumed run counts new rows only.
            self._first, self._shown = (tally, share, now), now
            if self._live:
                self._bar.start()
        if now - self._shown < (_LIVE_SECONDS if self._live else _LOG_SECONDS):
            return
        self._shown = now
        text = self._text(tally, share, now)
        if self._live:
            total = None if share is None else 1.0
            self._bar.update(self._task, description=text, completed=share or 0.0, total=total)
        else:
            display.note(text)

    def _text(self, tally: Tally, share: float | None, now: float) -> str:
        assert self._first is not None
        first, first_share, began = self._first
        seconds = max(now - began, 1e-9)
        parts = [counted(tally.texts, "text"), f"{(tally.texts - first.texts) / seconds:,.1f}/s"]
        if tally.errors:
            parts.append(counted(tally.errors, "error"))
        if tally.fallbacks:
            parts.append(f"{tally.fallbacks:,} without the model")
        usage, before = tally.usage, first.usage
        if usage.calls:
            tokens = (
                usage.prompt_tokens
                + usage.completion_tokens
                - before.prompt_tokens
                - before.completion_tokens
            )
            cached = usage.cached_tokens / usage.prompt_tokens if usage.prompt_tokens else 0.0
            parts.append(f"{tokens / seconds:,.0f} tokens/s ({cached:.0%} cached)")
            if self._price:
                parts.append(f"price {self._price.of(usage):,.2f}")
        if share is not None and first_share is not None and share > first_share:
            parts.append(f"{display.duration((1 - share) / (share - first_share) * seconds)} left")
        return ", ".join(parts)
