"""The batch job on Ray: this process reads and writes, others answer, in the order of the input."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import cycle
from typing import TYPE_CHECKING, Any

from irr.batch.job import Engine, Job, OutputRows, predictions
from irr.batch.rows import InputRow, OutputRow, answer
from irr.errors import IrrError, MissingExtraError

if TYPE_CHECKING:
    from irr.program.program import InferRetrieveRank

# Rows travel in blocks. Small blocks keep all workers busy, and little is repeated when a worker dies.
_BLOCK_CHARACTERS = 64 * 1024
_BLOCK_ROWS = 256
# Blocks of one worker that are sent before the first of them is answered.
_BLOCKS_AHEAD = 4


def on_ray(job: Job, make: Callable[[], InferRetrieveRank], workers: int) -> Engine:
    """The engine that works on Ray: a cluster if `RAY_ADDRESS` names one, else processes on this machine.

    Args:
        job: The input, the output, and how to classify.
        make: Builds the program; called once in each worker, which must reach the files it names.
        workers: How many processes answer.

    Raises:
        MissingExtraError: If Ray is not installed.
    """
    # Ray reads this at import: no usage statistics are sent.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray's own processes log fatal errors only, unless the user asks for more.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
    except ImportError as e:
        raise MissingExtraError("the Ray engine needs Ray", "pip install 'irr[ray]'") from e

    def work(_program: InferRetrieveRank, rows: Iterator[InputRow]) -> OutputRows:
        is_local = "RAY_ADDRESS" not in os.environ
        size: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False} if is_local else {}
        ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=is_local, **size)
        try:
            # A worker that dies is started again, and its blocks are answered again.
            remote: Any = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(RayWorker)
            pool = [remote.remote(make, job) for _ in range(workers)]
            pending: deque[Any] = deque()
            for worker, block in zip(cycle(pool), _blocks(rows), strict=False):
                if len(pending) == _BLOCKS_AHEAD * workers:
                    yield from _answers(ray.get(pending.popleft()))
                pending.append(worker.answer.remote(block))
            while pending:
                yield from _answers(ray.get(pending.popleft()))
        finally:
            ray.shutdown()

    return work


def _blocks(rows: Iterator[InputRow]) -> Iterator[list[InputRow]]:
    block: list[InputRow] = []
    size = 0
    for row in rows:
        block.append(row)
        size += len(row.text)
        if len(block) == _BLOCK_ROWS or size > _BLOCK_CHARACTERS:
            yield block
            block, size = [], 0
    if block:
        yield block


def _answers(answered: tuple[list[OutputRow], IrrError | None]) -> Iterator[OutputRow]:
    rows, error = answered
    yield from rows
    if error:
        raise error


class RayWorker:
    """Holds the program in one process, and answers blocks of rows."""

    def __init__(self, make: Callable[[], InferRetrieveRank], job: Job) -> None:
        self._make = make
        self._job = job

    @cached_property
    def _program(self) -> InferRetrieveRank:
        return self._make()

    def answer(self, block: list[InputRow]) -> tuple[list[OutputRow], IrrError | None]:
        """The rows of a block that were answered, and the error that ended the work if there was one."""
        job = self._job
        done: list[OutputRow] = []
        try:
            for row, prediction in predictions(self._program, block, job.top_k, job.decision):
                done.append(answer(row, prediction, job.costs))
        except IrrError as e:
            return done, e
        return done, None
