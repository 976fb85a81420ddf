"""Concurrent callers of a program share its work: what waits is answered together, as in a batch."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from irr.errors import IrrError
from irr.types import Prediction, RowError

Item = str | RowError

# Whoever was answered together may ask again: so much of the time that the answers took is waited for that.
_LINGER = 0.05


@dataclass(frozen=True)
class Way:
    """How some texts are answered; those of one way are answered together.

    Attributes:
        key: Equal where the answers come about in the same way.
        run: Answers some texts, in order.
        texts: How many are answered together, at most.
        characters: A group that holds so many characters takes no further text.
        workers: How many groups may be under way at a time.
    """

    key: Hashable
    run: Callable[[Sequence[Item]], Sequence[Prediction]] = field(compare=False)
    texts: int = field(compare=False)
    characters: int = field(compare=False)
    workers: int = field(compare=False)


class _Request(NamedTuple):
    way: Way
    text: Item
    future: Future[Prediction]


class Coalescer:
    """Puts the texts of concurrent callers into groups.

    A caller who is alone has its text answered in its own thread. Texts that come while others are under way
    wait, and a thread answers them in groups; it ends when nothing waits any more.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._under_way = 0
        self._inside = threading.local()

    @property
    def waiting(self) -> int:
        """Texts that wait for their turn."""
        return len(self._waiting)

    def answer(self, way: Way, text: Item) -> Prediction:
        """Answers a text, in this thread if nothing else is under way.

        Raises:
            Exception: What the text raised.
        """
        if getattr(self._inside, "running", False):  # a stage that asks a program: nobody else would answer
            return way.run([text])[0]
        with self._changed:
            alone = not self._under_way and not self._waiting
            if alone:
                self._under_way = 1
        if alone:
            return self._answer_here(way, text)
        future = self.submit(way, text)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # of a caller that was interrupted
            raise

    def submit(self, way: Way, text: Item) -> Future[Prediction]:
        """The answer to a text, when it is there; it can be cancelled until its work begins."""
        future: Future[Prediction] = Future()
        with self._changed:
            self._waiting.append(_Request(way, text, future))
            self._changed.notify_all()
            if self._under_way < way.workers:
                self._start()
        return future

    def close(self) -> None:
        """Waits until every text that was taken is answered; no thread is left then."""
        if os.getpid() != self._process:  # a forked child has none of the threads
            return
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._under_way)

    def _answer_here(self, way: Way, text: Item) -> Prediction:
        self._inside.running = True
        try:
            return way.run([text])[0]
        finally:
            self._inside.running = False
            with self._changed:
                self._under_way -= 1
                if self._waiting:
                    self._start()
                self._changed.notify_all()

    def _start(self) -> None:
        threading.Thread(target=self._work, name="irr-group", daemon=False).start()
        self._under_way += 1

    def _work(self) -> None:
        """Answers groups until nothing waits."""
        self._inside.running = True
        while group := self._take():
            began = time.perf_counter()
            _answer(group)
            if len(group) > 1:
                self._linger(len(group), _LINGER * (time.perf_counter() - began))

    def _linger(self, many: int, seconds: float) -> None:
        """Waits until as many texts are there as were just answered, but not for long."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) >= many, seconds)

    def _take(self) -> list[_Request]:
        """The text that waited longest, and others that can be answered together with it."""
        with self._changed:
            group: list[_Request] = []
            others: list[_Request] = []
            characters = 0
            while self._waiting:
                way = (group[0] if group else self._waiting[0]).way
                if len(group) >= way.texts or characters >= way.characters:
                    break
                request = self._waiting.popleft()
                if request.way != way:
                    others.append(request)
                elif request.future.set_running_or_notify_cancel():
                    group.append(request)
                    characters += len(request.text) if isinstance(request.text, str) else 0
            self._waiting.extendleft(reversed(others))
            if not group:
                self._under_way -= 1
                self._changed.notify_all()
            return group


def _answer(group: Sequence[_Request]) -> None:
    """Answers texts together; where that fails, each by itself, so that an error is only its own text's."""
    try:
        answers = group[0].way.run([request.text for request in group])
    except BaseException as e:
        if len(group) > 1 and not isinstance(e, IrrError):
            for request in group:
                _answer([request])
            return
        # What irr raises on purpose concerns all: a server that is gone, an index that cannot be read.
        for request in group:
            request.future.set_exception(e)
        return
    for request, answer in zip(group, answers, strict=True):
        request.future.set_result(answer)
