"""The batch job: rows of texts in, exactly one output row for each, in order."""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from irr.batch.checkpoint import Checkpoint
from irr.batch.identity import Identity
from irr.batch.retry import Retry
from irr.batch.rows import OutputRow, Row, answer, rows_of
from irr.batch.tally import Tally
from irr.calibrate.decision import BEST, Decision
from irr.errors import IrrError, LMUnavailableError, OutputError, UsageError
from irr.io.columns import OWN_NAMES, Columns
from irr.io.outputs import is_stream, locked, open_stream, refuse_to_write_over
from irr.io.records import RawRows, open_rows
from irr.io.table_output import check_table, is_table
from irr.types import Prediction, RowError

if TYPE_CHECKING:
    from irr.program.program import InferRetrieveRank

# After so many texts in a row that raise an exception, the program itself is taken to be broken.
_MOST_BREAKING = 20
# A full disk, an exceeded quota, an exceeded file size.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """The input, the output, and how to classify.

    Attributes:
        input: A file, or `-` for stdin.
        output: A file, or `-` for stdout.
        top_k: How many labels a text gets, at most; None leaves it to the decision.
        costs: Whether rows carry what their language-model calls cost.
        restart: Whether to begin anew and replace an output.
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


OutputRows = Generator[OutputRow, None, None]


class Engine(Protocol):
    """Answers rows, in order."""

    def __call__(self, program: InferRetrieveRank, rows: Iterator[Row], done: int, /) -> OutputRows:
        """Yields an answer for each of `rows`, which follow `done` rows that were answered before."""
        ...


Progress = Callable[[Tally, float | None], None]


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
                return _keep(job, build, engine, watch, source)
    except OSError as e:
        if e.errno not in _NO_ROOM:
            raise
        hint = "make room, and repeat the same call to go on"
        raise OutputError(job.output, f"cannot be written ({e.strerror})", hint) from e


def local(job: Job) -> Engine:
    """The engine that works in this process."""

    def work(program: InferRetrieveRank, rows: Iterator[Row], done: int) -> OutputRows:
        for row, prediction in predictions(program, rows, job.top_k, job.decision):
            yield answer(row, prediction, job.costs)

    return work


def predictions(
    program: InferRetrieveRank, rows: Iterable[Row], top_k: int | None, decision: Decision
) -> Iterator[tuple[Row, Prediction]]:
    """Yields every row with its prediction; a text that breaks the program gets an `internal` error.

    Raises:
        Exception: What the program raised, if it does so for 21 texts in a row.
    """
    waiting: deque[Row] = deque()

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
    for flag, given in (("--restart", job.restart), ("--retry-errors", job.retry_errors)):
        if given:
            raise UsageError(f"{flag} needs an output file", "leave it out, or name a file")
    rows = rows_of(source)
    with open_stream(job.output) as out, closing(engine(build(), rows, 0)) as answers:
        tally = Tally()
        for one in answers:
            out.write(one.line)
            out.flush()
            tally = tally.add(one.outcome)
            watch(tally, source.share())
        return tally


def _keep(
    job: Job, build: Callable[[], InferRetrieveRank], engine: Engine, watch: Progress, source: RawRows
) -> Tally:
    check_table(job.output)
    if job.retry_errors and is_table(job.output):
        raise UsageError("--retry-errors reads JSONL outputs only", "name a .jsonl file")
    checkpoint = Checkpoint(Path(job.output), source.separator)
    checkpoint.recover()
    if job.restart:
        checkpoint.drop()
    going_on = not job.restart and checkpoint.unfinished
    done = not job.restart and not going_on and checkpoint.finished
    if job.retry_errors and not (done or (going_on and checkpoint.finished)):
        hint = "run without --retry-errors first"
        raise OutputError(job.output, "is not a finished output", hint)
    rows = rows_of(source)  # before the index is built: an input that holds no texts ends the call
    program = build()
    identity = _identity(program, job)
    if going_on or done:
        checkpoint.check(identity)
    if done and not job.retry_errors:
        tally = checkpoint.reread(rows)
        logger.warning("%s is complete: nothing to do", job.output)
        return tally
    checkpoint.open(identity, rows)
    try:
        if checkpoint.tally.texts:
            logger.warning("going on after row %s", f"{checkpoint.tally.texts:,}")
        retry = Retry(checkpoint.output, checkpoint.tally.texts) if job.retry_errors else None
        left = retry.failed(rows) if retry else rows
        with closing(engine(program, left, checkpoint.tally.texts)) as answers:
            for one in retry.among(answers) if retry else answers:
                checkpoint.write(one)
                watch(checkpoint.tally, source.share())
    except BaseException as e:
        checkpoint.close()
        if not checkpoint.tally.texts:
            checkpoint.drop()  # no answer is lost, and a corrected call need not be the same run
        stopped = isinstance(e, KeyboardInterrupt | SystemExit)
        if stopped or (isinstance(e, LMUnavailableError) and checkpoint.tally.texts):
            row = f"{checkpoint.tally.texts:,}"
            logger.warning("stopped after row %s: repeat the same call to go on", row)
        raise
    checkpoint.finish()
    return checkpoint.tally


def _identity(program: InferRetrieveRank, job: Job) -> Identity:
    return Identity(
        labels=program.space.fingerprint,
        encoder=program.encoder.name,
        settings=program.settings,
        top_k=job.top_k,
        decision=job.decision,
        costs=job.costs,
        program=program.digest,
        retry=job.retry_errors,
    )
