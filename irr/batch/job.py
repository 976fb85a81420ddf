"""The batch job: reads the input, calls an engine, and writes exactly one row for each row, in order."""

from __future__ import annotations

import errno
import logging
import os
import random
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel, ConfigDict

from irr.batch.checkpoint import Checkpoint, FailedRows
from irr.batch.rows import InputRow, OutputRow, Price, Tally, answer, rows_of
from irr.calibrate.decision import BEST, Decision
from irr.errors import IrrError, LMUnavailableError, MissingExtraError, OutputError, UsageError
from irr.io.columns import OWN_NAMES, Columns
from irr.io.outputs import is_stream, locked, open_output, refuse_to_write_over
from irr.io.records import RawRows, open_rows
from irr.io.streams import ending
from irr.io.tables import TABLES, check_format
from irr.types import Prediction, RowError, Usage

if TYPE_CHECKING:
    from irr.program.program import InferRetrieveRank

# After so many texts in a row that raise an exception, the program itself is taken to be broken.
_MOST_BREAKING = 20
# A full disk, an exceeded quota, an exceeded file size.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Rows that a forecast classifies.
_SAMPLE = 100
# Rows travel to Ray in blocks. Small blocks keep all workers busy, and little is repeated when a worker dies.
_BLOCK_ROWS, _BLOCK_CHARACTERS = 256, 64 * 1024
# Blocks of one worker that are sent before the first of them is answered.
_BLOCKS_AHEAD = 4

logger = logging.getLogger(__name__)

OutputRows: TypeAlias = Generator[OutputRow, None, None]
# Yields an answer for each row, in order.
Engine: TypeAlias = "Callable[[InferRetrieveRank, Iterator[InputRow]], OutputRows]"
Progress: TypeAlias = Callable[[Tally, float | None], None]


@dataclass(frozen=True)
class Job:
    """The input, the output, and how to classify.

    Attributes:
        input: A file, or `-` for stdin.
        output: A file, or `-` for stdout.
        top_k: How many labels a text gets, at most; None leaves it to the decision.
        costs: Whether rows carry what their language-model calls cost.
        restart: Whether to start from the first row and replace an output.
        retry_errors: Whether to answer the failed rows of a finished output again.
        reads: Other files that the call reads, which the output must not replace.
        columns: Which columns or keys of the input hold id and text.
        decision: Which labels a text gets.
    """

    input: str
    output: str
    top_k: int | None = 10
    costs: bool = False
    restart: bool = False
    retry_errors: bool = False
    reads: tuple[Path, ...] = ()
    columns: Columns = OWN_NAMES
    decision: Decision = BEST


def run(job: Job, build: Callable[[], InferRetrieveRank], engine: Engine, watch: Progress) -> Tally:
    """Classifies every row of the input, or those that an earlier call left.

    Args:
        job: The input, the output, and how to classify.
        build: Builds the program; called after the quick checks.
        engine: Answers the rows.
        watch: Called after each row with the tally and the share of the input that was read.

    Raises:
        IrrError: If the call cannot be used, a model server refuses it or is down, or the disk is full.
    """
    try:
        with open_rows(job.input, job.columns) as source:
            if is_stream(job.output):
                return _stream(job, build, engine, watch, source)
            refuse_to_write_over(job.output, Path(job.input), *job.reads)
            with locked(Path(job.output)):
                return _write_file(job, build, engine, watch, source)
    except OSError as e:
        if e.errno not in _NO_ROOM:
            raise
        hint = "make room, and repeat the same call to go on"
        raise OutputError(job.output, f"cannot be written ({e.strerror})", hint) from e


def local(job: Job) -> Engine:
    """The engine that works in this process."""

    def work(program: InferRetrieveRank, rows: Iterator[InputRow]) -> OutputRows:
        for row, prediction in predictions(program, rows, job.top_k, job.decision):
            yield answer(row, prediction, job.costs)

    return work


def on_ray(job: Job, make: Callable[[], InferRetrieveRank], workers: int) -> Engine:
    """The engine that works on Ray: a cluster if `RAY_ADDRESS` names one, else processes on this machine.

    Each of `workers` processes calls `make`, which builds the program, and must reach its files.

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
                    yield from _unpacked(ray.get(pending.popleft()))
                pending.append(worker.answer.remote(block))
            while pending:
                yield from _unpacked(ray.get(pending.popleft()))
        finally:
            ray.shutdown()

    return work


def _unpacked(answered: tuple[list[OutputRow], IrrError | None]) -> Iterator[OutputRow]:
    rows, error = answered
    yield from rows
    if error:
        raise error


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
        done: list[OutputRow] = []
        try:
            for row in local(self._job)(self._program, iter(block)):
                done.append(row)
        except IrrError as e:
            return done, e
        return done, None


def predictions(
    program: InferRetrieveRank, rows: Iterable[InputRow], top_k: int | None, decision: Decision
) -> Iterator[tuple[InputRow, Prediction]]:
    """Yields every row with its prediction; a text that breaks the program gets an `internal` error.

    If the program raises for 21 texts in a row, so does this.
    """
    waiting: deque[InputRow] = deque()

    def texts() -> Iterator[str]:
        for row in rows:
            waiting.append(row)
            yield row.text

    rows = iter(rows)
    breaking = 0
    while True:
        try:
            for prediction in program.batch(texts(), top_k, decision=decision):
                yield waiting.popleft(), prediction
            return
        except IrrError:
            raise
        except Exception:
            if not waiting:
                raise
            logger.info("some texts could not be answered together", exc_info=True)
        # One of the texts under way raised it. They are answered one by one, so that the others succeed.
        while waiting:
            row = waiting.popleft()
            try:
                yield row, program(row.text, top_k, decision=decision)
                breaking = 0
            except IrrError:
                raise
            except Exception as e:
                breaking += 1
                if breaking > _MOST_BREAKING:
                    raise
                logger.exception("a text could not be answered, id %s", row.id)
                message = f"a defect in irr ({type(e).__name__}): report it with the traceback on stderr"
                yield row, Prediction(error=RowError(code="internal", message=message))


def _stream(
    job: Job, build: Callable[[], InferRetrieveRank], engine: Engine, watch: Progress, source: RawRows
) -> Tally:
    if job.restart or job.retry_errors:
        name = "restart" if job.restart else "retry_errors"
        raise UsageError(f"{name} needs an output file", "leave it out, or name a file")
    rows = rows_of(source)
    with open_output(job.output) as out, closing(engine(build(), rows)) as answers:
        tally = Tally()
        for one in answers:
            out.buffer.write(one.line)
            out.buffer.flush()
            tally += one.tally
            watch(tally, source.share())
        return tally


def _write_file(
    job: Job, build: Callable[[], InferRetrieveRank], engine: Engine, watch: Progress, source: RawRows
) -> Tally:
    check_format(job.output)
    if job.retry_errors and ending(job.output) in TABLES:
        raise UsageError("retry_errors reads JSONL outputs only", "name a .jsonl file")
    checkpoint = Checkpoint(Path(job.output), source.separator)
    checkpoint.recover()
    if job.restart:
        checkpoint.drop()
    resumed = checkpoint.unfinished
    finished = not job.restart and (job.retry_errors or not resumed) and checkpoint.finished
    if job.retry_errors and not finished:
        raise OutputError(job.output, "is not a finished output", "run without retry_errors first")
    rows = rows_of(source)  # before the index is built: an input that holds no texts ends the call
    program = build()
    identity = _identity(program, job)
    if finished and not resumed:
        checkpoint.check_finished(identity)
        if not job.retry_errors:
            checkpoint.check_input(rows)
            logger.warning("%s is complete: nothing to do", job.output)
            return checkpoint.tally
    checkpoint.open(identity, rows)
    try:
        if checkpoint.tally.texts:
            logger.warning("going on after row %s", f"{checkpoint.tally.texts:,}")
        failed = FailedRows(checkpoint.output, checkpoint.tally.texts) if job.retry_errors else None
        with closing(engine(program, failed.inputs(rows) if failed else rows)) as answers:
            for one in failed.merge(answers) if failed else answers:
                checkpoint.write(one)
                watch(checkpoint.tally, source.share())
    except BaseException as e:
        checkpoint.close()
        stopped = isinstance(e, KeyboardInterrupt | SystemExit)
        if stopped or (isinstance(e, LMUnavailableError) and checkpoint.tally.texts):
            row = f"{checkpoint.tally.texts:,}"
            logger.warning("stopped after row %s: repeat the same call to go on", row)
        raise
    checkpoint.finish()
    return checkpoint.tally


def _identity(program: InferRetrieveRank, job: Job) -> dict[str, Any]:
    """The options and the program, whose digest decides; the other values say what differs."""
    return {
        "labels": program.space.fingerprint,
        "encoder": program.encoder.name,
        "top_k": job.top_k,
        "costs": job.costs,
        "decision": job.decision.model_dump(mode="json"),
        **program.settings.flat(),
        "program": program.digest,
        "retry_errors": job.retry_errors,
    }


class Forecast(BaseModel):
    """The time and cost of a batch, scaled up from a sample.

    Attributes:
        rows: Rows of the input, counted as are the `bad_rows` without a readable text.
        sample: Rows that were drawn at random and classified.
        price: Expected price of the tokens; None if no price is given.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    bad_rows: int
    sample: int
    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    price: float | None


def forecast(program: InferRetrieveRank, rows: Iterable[InputRow], price: Price | None) -> Forecast:
    """Reads all rows, and classifies a sample of them with the program's language models."""
    chance = random.Random(0)
    count = bad = 0
    sample: list[str] = []
    for row in rows:
        count += 1
        if row.error:
            bad += 1
        elif len(sample) < _SAMPLE:
            sample.append(row.text)
        elif (place := chance.randrange(count - bad)) < _SAMPLE:  # reservoir sampling
            sample[place] = row.text
    for text in sample[:1]:
        program(text)  # the first text takes longest, and is not timed
    start = time.perf_counter()
    tally = sum(map(Tally.of, program.batch(sample)), Tally())
    scale = (count - bad) / len(sample) if sample else 0.0
    counts = tally.usage.model_dump(include={"calls", "prompt_tokens", "completion_tokens"})
    scaled = {name: round(value * scale) for name, value in counts.items()}
    return Forecast(
        rows=count,
        bad_rows=bad,
        sample=len(sample),
        **scaled,
        seconds=(time.perf_counter() - start) * scale,
        price=price.of(Usage(**scaled)) if price else None,
    )
