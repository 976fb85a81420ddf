"""Keeps what a model read, so that what a new prompt shares with the last ones is not read again."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

# How many prompts, and how many of their leading tokens: each takes 0.05 MB in a model of 135M parameters.
_PROMPTS = 3
_TOKENS = 2_048


class PrefixCache:
    """The keys and values of the last prompts."""

    def __init__(self) -> None:
        self._prompts: list[tuple[list[int], Any]] = []

    def get(self, ids: list[int]) -> tuple[Any, int]:
        """A cache that holds the first tokens of a prompt, all but the last at most, and their number."""
        from transformers import DynamicCache

        known, cache = max(
            ((shared(kept, ids[:-1]), cache) for kept, cache in self._prompts),
            key=lambda found: found[0],
            default=(0, None),
        )
        return (_first(cache, known), known) if known else (DynamicCache(), 0)

    def put(self, ids: list[int], cache: Any) -> None:
        """Keeps the first tokens of a prompt that was read, and forgets the prompt unused for longest."""
        ids = ids[:_TOKENS]
        if not ids:
            return
        for place, (kept, _) in enumerate(self._prompts):
            if shared(kept, ids) == len(ids):
                self._prompts.insert(0, self._prompts.pop(place))
                return
        cache = _first(cache, len(ids))
        for layer in cache.layers:
            # Without a copy, the part would hold on to the memory of the whole.
            layer.keys, layer.values = layer.keys.clone(), layer.values.clone()
        others = [(kept, held) for kept, held in self._prompts if shared(kept, ids) < len(kept)]
        self._prompts = [(ids, cache), *others][:_PROMPTS]


def _first(cache: Any, length: int) -> Any:
    """A cache that shows the first tokens of another, which stays as it is."""
    part = copy.copy(cache)
    part.layers = [copy.copy(layer) for layer in cache.layers]
    if surplus := cache.get_seq_length() - length:  # crop(0) empties the cache in older releases
        part.crop(-surplus)
    return part


def shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading tokens two prompts have in common."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
