"""A batch on disk: what is done survives any end, and only the same run goes on with it.

While a run lasts, `OUTPUT.part` holds its rows and `OUTPUT.part.json` says which run it is. At the end they
become `OUTPUT` and `OUTPUT.run.json`. Rows are only ever appended; what a crash tore is cut off by whoever
goes on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from irr.batch.identity import Identity
from irr.batch.rows import OutputRow, Row, read_output_row
from irr.batch.tally import Tally
from irr.errors import OtherRunError, OutputError
from irr.io.files import replace_file
from irr.io.streams import compress, is_compressed, open_source
from irr.io.table_output import is_table, write_table
from irr.io.validation import explain
from irr.types import Costs, Usage

# How far a power cut may set a run back; a kill loses nothing that was written.
_SYNC_SECONDS = 5.0
_RESTART = "repeat the call that began it, name another output, or add --restart to begin anew"


class _Record(BaseModel):
    """A run, what it came to, the digest of the input rows that this counts, and whether they are all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    run: Identity
    tally: Tally
    input: str
    complete: bool = False


class Journal:
    """The answers of one run, appended as they come; making one changes nothing on disk.

    Args:
        output: The run's output; a link stays a link.
        separator: What stands between the cells of an output that is CSV; the comma if "".
    """

    def __init__(self, output: Path, separator: str = "") -> None:
        self._separator = separator
        self.output = Path(os.path.realpath(output))
        self.part = _beside(self.output, ".part")
        # One value, so that no signal comes between its halves.
        self._done = (Tally(), hashlib.sha256())
        self._part_record = _beside(self.part, ".json")
        self._record = _beside(self.output, ".run.json")

    def recover(self) -> None:
        """Completes what a kill interrupted between the last steps of a run.

        Raises:
            OutputError: If what stands there is no record of a run.
        """
        if not self.part.exists() and self._part_record.exists():
            if _read(self._part_record).complete:  # a run that was killed just before its last step
                self._part_record.replace(self._record)
            else:  # its rows were taken away
                self._part_record.unlink()

    @property
    def tally(self) -> Tally:
        """What the run came to so far."""
        return self._done[0]

    @property
    def unfinished(self) -> bool:
        """Whether rows wait for the run to go on.

        Raises:
            OutputError: If what stands in their place was written by something else.
        """
        if not _has_content(self.part) and not self._part_record.exists():
            return False
        if not self._part_record.exists():
            raise OutputError(self.part, "is in the way, and of no run", "move it away")
        return True

    @property
    def finished(self) -> bool:
        """Whether the output is there, as a run left it.

        Raises:
            OutputError: If what stands in its place was written by something else.
        """
        if not self._record.exists() and _has_content(self.output):
            hint = "name another output, or add --restart to replace it"
            raise OutputError(self.output, "exists, and was not written by a run", hint)
        return self._record.exists() and self.output.exists()

    @property
    def begun(self) -> bool:
        """Whether a run has left something here, finished or not."""
        return self._part_record.exists() or self._record.exists()

    @property
    def spent(self) -> Usage:
        """What the answers of an unfinished run cost, where they say so."""
        usage = Usage()
        if self.unfinished:
            with self.part.open("rb") as lines:
                for line in lines:
                    if answer := read_output_row(line):
                        usage += Tally().read(answer).usage
        return usage

    def publish(self) -> None:
        """Makes a copy of an unfinished run's answers the output; the run can go on all the same."""
        if self.unfinished:
            with self.part.open(encoding="utf-8") as answers, replace_file(self.output) as file:
                shutil.copyfileobj(answers, file)

    def check(self, run: Identity) -> None:
        """Makes sure that what is there, finished or not, is of this run.

        Raises:
            OutputError: With what is different, if it is not.
        """
        if self.unfinished:
            path, there = self.part, _read(self._part_record).run
        elif self.finished:
            path, there = self.output, _read(self._record).run
            there = there.model_copy(update={"retry": run.retry})
        else:
            return
        if difference := there.difference(run):
            raise OtherRunError(path, f"is of another run ({difference})", _RESTART)

    def drop(self) -> None:
        """Forgets what is unfinished.

        Raises:
            OutputError: If that was written by something else.
        """
        if self.unfinished:
            # Rows first: a record without them means something else.
            os.truncate(self.part, 0)
            self._part_record.unlink()
            self.part.unlink()

    def reread(self, rows: Iterator[Row]) -> Tally:
        """What a finished run came to, after making sure that it answers just these rows.

        Raises:
            OutputError: If it does not.
        """
        record = _read(self._record)
        if is_table(self.output):
            # A table does not say what it answers in a form to compare: the rows' digest does.
            for row in rows:
                self._count(self.tally.add(error=False, fallback=False, costs=Costs()), row.digest)
            if self._done[1].hexdigest() != record.input or self.tally.texts != record.tally.texts:
                raise self._changed(self.output)
            return record.tally
        with open_source(str(self.output)) as source:
            lines = (line for line in source.lines(sys.maxsize) if line)
            self._pass_over(lines, rows, self.output, record)
        if next(rows, None) is not None:
            raise self._changed(self.output)
        return self.tally

    def open(self, run: Identity, rows: Iterator[Row]) -> None:
        """Opens the journal, and passes over the rows that it holds answers to.

        Raises:
            OutputError: If those are not the rows that were answered.
        """
        record = _read(self._part_record) if self._part_record.exists() else None
        self._run = run
        self._file = self.part.open("r+b" if self.part.exists() else "w+b")
        end = self._pass_over(self._file, rows, self.part, record)
        self._file.truncate(end)
        self._file.seek(end)
        self._before, self._began = self.tally.seconds, time.monotonic()
        self._sync()

    def write(self, answer: OutputRow) -> None:
        """Appends one answer."""
        self._file.write(answer.line)
        self._file.flush()
        self._count(
            self.tally.add(answer.error, answer.fallback, answer.costs, answer.abstained, answer.scope),
            answer.digest,
        )
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        """Keeps what is done, for the run to go on later."""
        with self._file:
            self._sync()

    def finish(self) -> None:
        """Makes the answers the output, at once."""
        with self._file:
            self._sync(complete=True)
        if is_table(self.output):
            with replace_file(self.output) as file:
                write_table(self.part, self.output, file.buffer, self._separator)
                file.buffer.flush()
                os.fsync(file.fileno())
            self.part.unlink()
        elif is_compressed(self.output):
            with replace_file(self.output) as file:
                compress(self.part, file.buffer, self.output.suffix)
                os.fsync(file.fileno())
            self.part.unlink()
        else:
            self.part.replace(self.output)
        self._part_record.replace(self._record)

    def _pass_over(
        self, lines: Iterable[bytes], rows: Iterator[Row], path: Path, record: _Record | None
    ) -> int:
        """Counts the answers in `lines`, each to the next of `rows`; returns where the last one ends."""
        end = 0
        for line in lines:
            answer = read_output_row(line)
            if answer is None:
                break
            row = next(rows, None)
            if row is None or row.id != answer["id"]:
                raise self._changed(path)
            self._count(self.tally.read(answer), row.digest)
            end += len(line)
            if record and self.tally.texts == record.tally.texts:
                if self._done[1].hexdigest() != record.input:
                    raise self._changed(path)
                self._done = (record.tally, self._done[1])  # it knows what the rows do not say
        return end

    def _count(self, tally: Tally, digest: bytes) -> None:
        rows = self._done[1].copy()
        rows.update(digest)
        self._done = (tally, rows)

    def _changed(self, path: Path) -> OtherRunError:
        problem = "is of a run on another input, which differs before or in row"
        return OtherRunError(path, f"{problem} {self.tally.texts + 1}", _RESTART)

    def _sync(self, complete: bool = False) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()
        tally, rows = self._done
        tally = tally.model_copy(update={"seconds": self._before + self._synced - self._began})
        self._done = (tally, rows)
        record = _Record(run=self._run, tally=tally, input=rows.hexdigest(), complete=complete)
        fresh = _beside(self._part_record, ".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(record.model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._part_record)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _read(path: Path) -> _Record:
    try:
        return _Record.model_validate_json(path.read_bytes())
    except ValidationError as e:
        raise OutputError(path, f"is no record of a run ({explain(e)[0]})", _RESTART) from e
