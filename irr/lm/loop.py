"""The event loop on which all language models are called, and the cancelling of calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")


class Requests:
    """The calls under way for one caller, which can be cancelled together."""

    def __init__(self) -> None:
        self._under_way: set[Future[Any]] = set()
        self._cancelled = False

    @contextmanager
    def made_here(self) -> Iterator[None]:
        """Counts the calls of `run_on_loop` in this block, on this thread, as this caller's."""
        token = _requests.set(self)
        try:
            yield
        finally:
            _requests.reset(token)

    def cancel(self) -> None:
        """Cancels the calls under way, and all later ones."""
        self._cancelled = True
        for future in self._under_way.copy():
            future.cancel()

    def _add(self, future: Future[Any]) -> None:
        # Added before the check, so that `cancel` in another thread misses no call.
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        if self._cancelled:
            future.cancel()


_requests: ContextVar[Requests | None] = ContextVar("irr_requests", default=None)


# All models share one loop, because a connection belongs to the loop that opened it.
_loop = asyncio.new_event_loop()
_thread = threading.Thread(target=_loop.run_forever, name="irr-lm", daemon=True)
_starting = threading.Lock()


def _start(work: Coroutine[Any, Any, T]) -> Future[T]:
    with _starting:
        if _thread.ident is None:
            _thread.start()
    return asyncio.run_coroutine_threadsafe(work, _loop)


def _is_here() -> bool:
    return _thread is threading.current_thread()


def run_on_loop(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the event loop that all models share, and waits for it.

    Raises:
        RuntimeError: If it is called on that loop, where it would wait for itself.
    """
    if _is_here():
        work.close()
        raise RuntimeError("run_on_loop() was called on the models' own event loop: await the work instead")
    future = _start(work)
    if requests := _requests.get():
        requests._add(future)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def close_on_loop(work: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine that closes something on that loop; waits for it, if that is possible, two seconds."""
    closing = _start(work)
    if not _is_here():
        with suppress(TimeoutError):
            closing.result(timeout=2)


async def on_loop(work: Coroutine[Any, Any, T]) -> T:
    """Awaits a coroutine on the event loop that all models share, from that loop or another one."""
    if _is_here():
        return await work
    return await asyncio.wrap_future(_start(work))


async def gather(*work: Coroutine[Any, Any, T]) -> list[T]:
    """Awaits coroutines together; at the first error it cancels the others and raises the error."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
