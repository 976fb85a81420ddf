"""Content-free calibration: a model's answer for a label without a text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from irr.types import Candidate

# The content-free text.
_NOTHING = "N/A"


class ContentFree:
    """A model's evidence for labels after the content-free text, requested once a label."""

    def __init__(self, weigh: _Weigh) -> None:
        self._weigh = weigh
        self._known: dict[str, float] = {}
        # A lock, because texts that are ranked together need the same labels.
        self._asking = asyncio.Lock()

    async def __call__(self, candidates: Sequence[Candidate]) -> list[float]:
        """Returns one number for each candidate."""
        async with self._asking:
            new = [candidate for candidate in candidates if candidate.label.id not in self._known]
            if new:
                found = await self._weigh(_NOTHING, new)
                self._known.update(zip((candidate.label.id for candidate in new), found, strict=True))
        return [self._known[candidate.label.id] for candidate in candidates]


class _Weigh(Protocol):
    async def __call__(self, text: str, candidates: Sequence[Candidate], /) -> list[float]: ...
