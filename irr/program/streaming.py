"""A stream of texts, answered in order and in groups, of which some are under way at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from irr.lm.loop import Requests
from irr.program.coalescing import Item
from irr.types import Prediction

# A group of texts ends here: enough to fill the encoder's batches, few enough to stream.
GROUP_CHARACTERS = 30_000

Answer = Callable[[Sequence[Item]], Sequence[Prediction]]


def stream(texts: Iterable[Item], answer: Answer, size: int, workers: int) -> Iterator[Prediction]:
    """Yields one prediction for each text, in order, while the texts are still being read.

    Args:
        texts: The texts.
        answer: Answers a group of texts, in order.
        size: Texts of a group, at most.
        workers: Groups that are under way at a time.
    """
    groups = _groups(texts, size)
    if workers == 1:
        for group in groups:
            yield from answer(group)
        return
    # Some groups are under way at once, so that a model that is waited for always has work.
    under_way: deque[Future[Sequence[Prediction]]] = deque()
    requests = Requests()
    pool = ThreadPoolExecutor(workers, "irr-group")
    try:
        for group in groups:
            under_way.append(pool.submit(_tracked, requests, answer, group))
            if len(under_way) > workers:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()
    finally:
        # Whoever leaves early is not made to wait, or to pay, for answers that nobody reads.
        requests.cancel()
        pool.shutdown(cancel_futures=True)


def _tracked(requests: Requests, answer: Answer, group: Sequence[Item]) -> Sequence[Prediction]:
    with requests.made_here():
        return answer(group)


def _groups(texts: Iterable[Item], size: int) -> Iterator[list[Item]]:
    group: list[Item] = []
    characters = 0
    for text in texts:
        group.append(text)
        characters += len(text) if isinstance(text, str) else 0
        if len(group) >= size or characters >= GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group
