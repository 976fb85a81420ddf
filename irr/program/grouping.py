"""Puts texts into groups that are answered together: those of a stream, and those of concurrent callers."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from irr.errors import IrrError
from irr.lm.loop import Requests
from irr.program.stages import AnswerOptions, Stages
from irr.types import Prediction, TextOrError

# A group of texts ends here: enough to fill the encoder's batches, few enough to stream.
_GROUP_CHARACTERS = 30_000
# After a group, so much of its duration is waited for the same callers' next requests.
_LINGER = 0.05


def stream(texts: Iterable[TextOrError], stages: Stages, options: AnswerOptions) -> Iterator[Prediction]:
    """Yields one prediction for each text, in order, while the texts are still being read."""
    groups = _groups(texts, stages.group_texts)
    if stages.workers == 1:
        for group in groups:
            yield from stages.answer(group, options)
        return
    # Some groups are under way at once, so that a model that is waited for always has work.
    under_way: deque[Future[Sequence[Prediction]]] = deque()
    requests = Requests()

    def answer(group: Sequence[TextOrError]) -> Sequence[Prediction]:
        with requests.made_here():
            return stages.answer(group, options)

    pool = ThreadPoolExecutor(stages.workers, "irr-group")
    try:
        for group in groups:
            under_way.append(pool.submit(answer, group))
            if len(under_way) > stages.workers:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()
    finally:
        # A caller that leaves early neither waits nor pays for answers that nobody reads.
        requests.cancel()
        pool.shutdown(cancel_futures=True)


def _groups(texts: Iterable[TextOrError], size: int) -> Iterator[list[TextOrError]]:
    group: list[TextOrError] = []
    characters = 0
    for text in texts:
        group.append(text)
        characters += _length(text)
        if len(group) >= size or characters >= _GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _length(text: TextOrError) -> int:
    return len(text) if isinstance(text, str) else 0


class _Request(NamedTuple):
    stages: Stages
    options: AnswerOptions
    text: TextOrError
    future: Future[Prediction]


class Coalescer:
    """Puts the texts of concurrent callers into groups.

    A caller who is alone has its text answered in its own thread. Texts that come while others are under way
    wait, and a thread answers them in groups; it ends when nothing waits any more. A group holds texts of one
    program with the same options.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._under_way = 0
        self._inside = threading.local()

    @property
    def waiting(self) -> int:
        """The number of texts that wait for their turn."""
        return len(self._waiting)

    def answer(self, stages: Stages, options: AnswerOptions, text: TextOrError) -> Prediction:
        """Answers a text, in this thread if nothing else is under way; raises what the text raised."""
        if getattr(self._inside, "running", False):  # a stage calls a program: waiting would deadlock
            return stages.answer([text], options)[0]
        with self._changed:
            alone = not self._under_way and not self._waiting
            if alone:
                self._under_way = 1
        if not alone:
            future = self.submit(stages, options, text)
            try:
                return future.result()
            except BaseException:
                future.cancel()  # the caller was interrupted
                raise
        self._inside.running = True
        try:
            return stages.answer([text], options)[0]
        finally:
            self._inside.running = False
            with self._changed:
                self._under_way -= 1
                if self._waiting:
                    self._start()
                self._changed.notify_all()

    def submit(self, stages: Stages, options: AnswerOptions, text: TextOrError) -> Future[Prediction]:
        """The future answer to a text; it can be cancelled until its work begins."""
        future: Future[Prediction] = Future()
        with self._changed:
            self._waiting.append(_Request(stages, options, text, future))
            self._changed.notify_all()
            if self._under_way < stages.workers:
                self._start()
        return future

    def close(self) -> None:
        """Waits until every submitted text is answered; no thread is left then."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._under_way)

    def _start(self) -> None:
        threading.Thread(target=self._work, name="irr-group", daemon=False).start()
        self._under_way += 1

    def _work(self) -> None:
        """Answers groups until nothing waits."""
        self._inside.running = True
        while group := self._take():
            began = time.perf_counter()
            _answer_group(group)
            if len(group) > 1:
                self._linger(len(group), _LINGER * (time.perf_counter() - began))

    def _linger(self, count: int, seconds: float) -> None:
        """Waits until as many texts are there as were just answered, but not for long."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) >= count, seconds)

    def _take(self) -> list[_Request]:
        """The text that waited longest, and others that can be answered together with it."""
        with self._changed:
            group: list[_Request] = []
            others: list[_Request] = []
            characters = 0
            while self._waiting:
                stages, options, _, _ = group[0] if group else self._waiting[0]
                if len(group) >= stages.group_texts or characters >= _GROUP_CHARACTERS:
                    break
                request = self._waiting.popleft()
                if request.stages is not stages or request.options != options:
                    others.append(request)
                elif request.future.set_running_or_notify_cancel():
                    group.append(request)
                    characters += _length(request.text)
            self._waiting.extendleft(reversed(others))
            if not group:
                self._under_way -= 1
                self._changed.notify_all()
            return group


def _answer_group(group: Sequence[_Request]) -> None:
    """Answers texts together; where that fails, each by itself, so that an error is only its own text's."""
    try:
        answers = group[0].stages.answer([request.text for request in group], group[0].options)
    except BaseException as e:
        if len(group) > 1 and not isinstance(e, IrrError):
            for request in group:
                _answer_group([request])
            return
        # An IrrError concerns all: a server that is gone, an index that cannot be read.
        for request in group:
            request.future.set_exception(e)
        return
    for request, answer in zip(group, answers, strict=True):
        request.future.set_result(answer)
