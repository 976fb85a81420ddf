"""Adds up what language-model calls cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from irr.types import Usage


class Meter:
    """Adds up the cost of calls."""

    def __init__(self) -> None:
        self.usage = Usage()

    def add(self, usage: Usage) -> None:
        """Counts one call."""
        self.usage = self.usage + usage


_meter: ContextVar[Meter | None] = ContextVar("irr_meter", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """Opens a meter for the calls made in this block, and in tasks that are started from it."""
    meter = Meter()
    token = _meter.set(meter)
    try:
        yield meter
    finally:
        _meter.reset(token)


def count(usage: Usage) -> None:
    """Adds the cost of a call to the meter that is open, if one is."""
    meter = _meter.get()
    if meter is not None:
        meter.add(usage)
