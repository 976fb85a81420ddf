"""The batch job: reads the input, calls an engine, and writes exactly one row for each row, in order."""

from __future__ import annotations

import errno
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel, ConfigDict

from irr.batch.checkpoint import Checkpoint, FailedRows
from irr.batch.rows import InputRow, OutputRow, Price, Tally, answer, rows_of
from irr.calibrate.decision import BEST, Decision
from irr.errors import IrrError, LMUnavailableError, OutputError, UsageError
from irr.io.columns import OWN_NAMES, Columns
from irr.io.outputs import is_stream, locked, open_output, refuse_to_write_over
from irr.io.records import RawRows, open_rows
from irr.io.table_writer import check_format, is_table
from irr.types import Prediction, RowError, Usage

if TYPE_CHECKING:
    from irr.program.program import InferRetrieveRank

# After so many texts in a row that raise an exception, the program itself is taken to be broken.
_MOST_BREAKING = 20
# A full disk, an exceeded quota, an exceeded file size.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Rows that a forecast classifies.
_SAMPLE = 100

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
    for name in ("restart", "retry_errors"):
        if getattr(job, name):
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
    if job.retry_errors and is_table(job.output):
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
            tally = checkpoint.check_input(rows)
            logger.warning("%s is complete: nothing to do", job.output)
            return tally
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
    """Everything besides the input that a run's answers depend on: the options, and the program.

    The program's digest decides; the other values say what is different.
    """
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
        rows: Rows of the input, counted.
        bad_rows: Rows without a readable text, counted.
        sample: Rows that were drawn at random and classified.
        calls: Requests to language models.
        prompt_tokens: Tokens sent.
        completion_tokens: Tokens generated.
        seconds: Expected time.
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
    scaled = Usage(
        calls=round(tally.usage.calls * scale),
        prompt_tokens=round(tally.usage.prompt_tokens * scale),
        completion_tokens=round(tally.usage.completion_tokens * scale),
    )
    return Forecast(
        rows=count,
        bad_rows=bad,
        sample=len(sample),
        **scaled.model_dump(include={"calls", "prompt_tokens", "completion_tokens"}),
        seconds=(time.perf_counter() - start) * scale,
        price=price.of(scaled) if price else None,
    )
