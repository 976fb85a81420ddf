"""Keeps a flood of requests that are none out of the log: a warning comes once a second, with a count."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGER = logging.getLogger("uvicorn.error")


@contextmanager
def sparse_warnings(seconds: float = 1.0) -> Iterator[None]:
    """Lets the server repeat a warning only so often; what was left out is counted in the next line.

    Args:
        seconds: Between two lines of one warning.
    """
    sparse = _Sparse(seconds)
    _LOGGER.addFilter(sparse)
    try:
        yield
    finally:
        _LOGGER.removeFilter(sparse)


class _Sparse(logging.Filter):
    """Lets the first of a kind of warning pass, and counts the others; it is used in an event loop."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._more: Counter[str] = Counter()
        self._watched: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged now."""
        said = record.getMessage()
        if record.levelno != logging.WARNING or record.name != _LOGGER.name or hasattr(record, "more"):
            return True
        if said in self._watched:
            self._more[said] += 1
            return False
        self._watch(said)
        return True

    def _watch(self, said: str) -> None:
        self._watched.add(said)
        asyncio.get_running_loop().call_later(self._seconds, self._end, said)

    def _end(self, said: str) -> None:
        self._watched.discard(said)
        if more := self._more.pop(said, 0):
            _LOGGER.warning("%s (%s more times)", said, f"{more:,}", extra={"more": more})
            self._watch(said)
