"""The batch job on Ray Data: one process reads, many answer, one writes, in the order of the input."""

from __future__ import annotations

import logging
import os
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irr.batch import Engine, Job, OutputRows, predictions
from irr.batch.rows import OutputRow, Row, answer, read_row
from irr.batch.tally import Outcome
from irr.errors import IrrError, MissingExtraError, UsageError
from irr.io.columns import Columns
from irr.io.records import RawRow, open_rows
from irr.io.streams import STANDARD

if TYPE_CHECKING:
    import pyarrow as pa

    from irr.program.program import InferRetrieveRank

# Rows travel in blocks. Small blocks keep all workers busy, and little is repeated when a worker dies.
_BLOCK_BYTES = 64 * 1024
_BLOCK_ROWS = 256
# Seconds that the end of a run waits for a thread.
_LONGEST_WAIT = 10.0


def on_ray(job: Job, make: Callable[[], InferRetrieveRank], workers: int) -> Engine:
    """The engine that works on Ray: a cluster if `RAY_ADDRESS` names one, else processes on this machine.

    Args:
        job: The input, the output, and how to classify.
        make: Builds the program; called once in each worker, which must reach the files it names.
        workers: How many processes answer.

    Raises:
        UsageError: If the input is stdin, or failed rows are to be answered again.
        MissingExtraError: If Ray is not installed.
    """
    # Ray reads this at import: no usage statistics are sent.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray's own processes log fatal errors only, unless the user asks for more.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray.data  # noqa: F401
    except ImportError as e:
        raise MissingExtraError("--engine ray needs Ray", "pip install 'irr[ray]'") from e
    if job.input == STANDARD:
        raise UsageError("--engine ray reads files, not stdin", "give --input FILE")
    if job.retry_errors:
        raise UsageError("--retry-errors does not need Ray", "leave --engine out")

    def work(_program: InferRetrieveRank, _rows: Iterator[Row], done: int) -> OutputRows:
        return _answers(job, make, workers, done)

    return work


def _answers(job: Job, make: Callable[[], InferRetrieveRank], workers: int, done: int) -> OutputRows:
    import ray

    local = "RAY_ADDRESS" not in os.environ
    # The workers take one processor each, the reader one more.
    size: dict[str, Any] = {"num_cpus": workers + 1, "include_dashboard": False} if local else {}
    ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=local, **size)
    before = set(threading.enumerate())
    try:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.target_max_block_size = _BLOCK_BYTES
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        answers = ray.data.read_datasource(
            _source(partial(_blocks, str(Path(job.input).absolute()), job.columns, done)),
            override_num_blocks=1,
            # This node has the file; half a processor of its own keeps the reader out of the workers.
            label_selector={"ray.io/node-id": ray.get_runtime_context().get_node_id()},
            num_cpus=0.5,
        ).map_batches(
            _Worker,
            fn_constructor_args=(make, job),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        )
        with closing(
            iter(answers.iter_batches(prefetch_batches=0, batch_size=None, batch_format="pyarrow"))
        ) as tables:
            for table in tables:
                for row in table.to_pylist():
                    if failure := row.pop("failure"):
                        raise pickle.loads(failure)
                    outcome = Outcome.model_validate_json(row["outcome"])
                    yield OutputRow(row["digest"], row["line"], outcome)
    except IrrError:
        raise
    except Exception as e:
        if own := _own(e):
            # Ray adds advice in further lines, which are left out.
            raise IrrError(str(own).splitlines()[0]) from e
        raise
    finally:
        _wait_for_others(before)
        ray.shutdown()


def _wait_for_others(before: set[threading.Thread]) -> None:
    """Waits for threads of Ray Data: one that asks Ray after its end would end this process with code 1."""
    for thread in set(threading.enumerate()) - before:
        if thread.name != "Prefetcher":  # waits for work for ever
            thread.join(_LONGEST_WAIT)


def _own(error: BaseException | None) -> IrrError | None:
    """The IrrError of another process that Ray wrapped in its own errors; None if there is none."""
    while error is not None:
        if isinstance(cause := getattr(error, "cause", error), IrrError):
            return cause
        error = error.__cause__
    return None


def _blocks(path: str, columns: Columns, done: int) -> Iterator[pa.Table]:
    """The raw rows of a file after the first `done`, in blocks."""
    import pyarrow as pa

    with open_rows(path, columns) as source:
        rows = islice(source.rows, done, None)
        while block := list(islice(rows, _BLOCK_ROWS)):
            yield pa.table(
                {
                    "number": pa.array([row.number for row in block], pa.int64()),
                    "line": pa.array([row.line for row in block], pa.large_binary()),
                    "problem": [row.problem for row in block],
                }
            )


def _source(read: Callable[[], Iterable[Any]]) -> Any:
    """A data source with one reader for all rows: a compressed file can only be read from its start."""
    from ray.data import Datasource, ReadTask
    from ray.data.block import BlockMetadata

    class OneReader(Datasource):
        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[Any]:
            unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [ReadTask(read, unknown)]

    return OneReader()  # type: ignore[no-untyped-call]


class _Worker:
    """Holds the program in one process, and answers blocks of rows."""

    def __init__(self, make: Callable[[], InferRetrieveRank], job: Job) -> None:
        self._make = make
        self._job = job

    @cached_property
    def _program(self) -> InferRetrieveRank:
        return self._make()

    def __call__(self, block: pa.Table) -> pa.Table:
        import pyarrow as pa

        job = self._job
        rows = [read_row(RawRow(**raw)) for raw in block.to_pylist()]
        found: list[OutputRow] = []
        # An IrrError travels as a row, because Ray passes on only the text of an exception.
        failure = []
        try:
            for row, prediction in predictions(self._program, rows, job.top_k, job.decision):
                found.append(answer(row, prediction, job.costs))
        except IrrError as e:
            found.append(OutputRow(b"", b"", Outcome(error=True)))
            failure = [pickle.dumps(e)]
        return pa.table(
            {
                "failure": pa.array([None] * (len(found) - len(failure)) + failure, pa.binary()),
                "digest": pa.array([one.digest for one in found], pa.binary()),
                "line": pa.array([one.line for one in found], pa.large_binary()),
                "outcome": [one.outcome.model_dump_json() for one in found],
            }
        )
