"""A prefix KV cache: a prompt is read from where it differs from the last prompts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

# Prompts that are kept, and their first tokens; a token takes 0.05 MB in a model of 135M parameters.
_PROMPTS = 3
_TOKENS = 2_048


class PrefixCache:
    """The keys and values of the last prompts."""

    def __init__(self) -> None:
        self._prompts: list[tuple[list[int], Any]] = []

    def get(self, ids: list[int]) -> tuple[Any, int]:
        """A cache of the first tokens of a prompt, at most all but the last, and their number."""
        from transformers import DynamicCache

        known, cache = max(
            ((shared(kept, ids[:-1]), cache) for kept, cache in self._prompts),
            key=lambda found: found[0],
            default=(0, None),
        )
        return (_first(cache, known), known) if known else (DynamicCache(), 0)

    def put(self, ids: list[int], cache: Any) -> None:
        """Keeps the first tokens of a prompt that was read, and drops the least recently used one."""
        ids = ids[:_TOKENS]
        if not ids:
            return
        for place, (kept, _) in enumerate(self._prompts):
            if shared(kept, ids) == len(ids):
                self._prompts.insert(0, self._prompts.pop(place))
                return
        cache = _first(cache, len(ids))
        for layer in cache.layers:
            # A view would keep the memory of the whole cache.
            layer.keys, layer.values = layer.keys.clone(), layer.values.clone()
        others = [(kept, held) for kept, held in self._prompts if shared(kept, ids) < len(kept)]
        self._prompts = [(ids, cache), *others][:_PROMPTS]


def _first(cache: Any, length: int) -> Any:
    """A cache of the first tokens of another, which is not changed."""
    part = copy.copy(cache)
    part.layers = [copy.copy(layer) for layer in cache.layers]
    if surplus := cache.get_seq_length() - length:  # crop(0) empties the cache in older releases
        part.crop(-surplus)
    return part


def shared(a: Sequence[int], b: Sequence[int]) -> int:
    """The number of leading tokens that two prompts share."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
