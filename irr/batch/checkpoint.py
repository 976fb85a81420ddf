"""A run on disk: its answers survive a crash, and a later call of the same run continues it.

While a run lasts, `OUTPUT.part` holds its rows and `OUTPUT.part.json` identifies it. At the end they become
`OUTPUT` and `OUTPUT.run.json`. Rows are appended; a call that continues a run first truncates a torn row.
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
from irr.batch.tally import Outcome, Tally
from irr.errors import OtherRunError, OutputError
from irr.io.durable import LineAppender
from irr.io.outputs import replace_file
from irr.io.streams import compress, is_compressed, open_source
from irr.io.table_output import is_table, write_table
from irr.io.validation import explain

# Seconds of work that a power cut may lose; a kill loses none.
_SYNC_SECONDS = 5.0
_RESTART = "repeat the call that began it, name another output, or add --restart to begin anew"


class _Record(BaseModel):
    """A run, its tally, the digest of the input rows that are counted in it, and whether the run is done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    run: Identity
    tally: Tally
    input: str
    complete: bool = False


class Checkpoint:
    """The answers of one run; `open` is the first method that writes.

    Args:
        output: The run's output; of a link, the file that it leads to.
        separator: Between the cells of a CSV output; a comma if "".
    """

    def __init__(self, output: Path, separator: str = "") -> None:
        self._separator = separator
        self.output = Path(os.path.realpath(output))
        self.part = _beside(self.output, ".part")
        # The tally and the digest of its rows: one tuple, so that an interrupt leaves both or neither.
        self._done = (Tally(), hashlib.sha256())
        self._part_record = _beside(self.part, ".json")
        self._record = _beside(self.output, ".run.json")

    def recover(self) -> None:
        """Completes the last steps of a run that was killed between them.

        Raises:
            OutputError: If the record of the run cannot be read.
        """
        if not self.part.exists() and self._part_record.exists():
            if _read(self._part_record).complete:  # killed just before its last step
                self._part_record.replace(self._record)
            else:  # somebody removed its rows
                self._part_record.unlink()

    @property
    def tally(self) -> Tally:
        """The sums over the rows that were written."""
        return self._done[0]

    @property
    def unfinished(self) -> bool:
        """Whether an unfinished run is there.

        Raises:
            OutputError: If the file in its place is not a run's.
        """
        if not _has_content(self.part) and not self._part_record.exists():
            return False
        if not self._part_record.exists():
            raise OutputError(self.part, "is in the way, and was not written by a run", "move it away")
        return True

    @property
    def finished(self) -> bool:
        """Whether a finished output is there.

        Raises:
            OutputError: If the file in its place is not a run's.
        """
        if not self._record.exists() and _has_content(self.output):
            hint = "name another output, or add --restart to replace it"
            raise OutputError(self.output, "exists, and was not written by a run", hint)
        return self._record.exists() and self.output.exists()

    @property
    def begun(self) -> bool:
        """Whether a run is there, finished or not."""
        return self._part_record.exists() or self._record.exists()

    def publish(self) -> None:
        """Writes a copy of an unfinished run's answers as the output; the run can still go on."""
        if self.unfinished:
            with self.part.open(encoding="utf-8") as answers, replace_file(self.output) as file:
                shutil.copyfileobj(answers, file)

    def check(self, run: Identity) -> None:
        """Checks that the rows that are there, finished or not, are this run's.

        Raises:
            OtherRunError: With the first difference, if they are not.
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
        """Deletes an unfinished run.

        Raises:
            OutputError: If the file in its place is not a run's.
        """
        if self.unfinished:
            # Rows first: `recover` takes a record without rows for a complete or a void run.
            os.truncate(self.part, 0)
            self._part_record.unlink()
            self.part.unlink()

    def reread(self, rows: Iterator[Row]) -> Tally:
        """The tally of a finished run, after a check that it answers exactly these rows.

        Raises:
            OtherRunError: If it does not.
        """
        record = _read(self._record)
        if is_table(self.output):
            # A table's rows cannot be compared with the input; the digest of the input can.
            for row in rows:
                self._count(self.tally.add(Outcome()), row.digest)
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
        """Opens the run for writing, and skips the input rows that it already answers.

        Raises:
            OtherRunError: If it answers other rows.
        """
        record = _read(self._part_record) if self._part_record.exists() else None
        self._run = run
        end = 0
        if self.part.exists():
            with self.part.open("rb") as lines:
                end = self._pass_over(lines, rows, self.part, record)
        self._file = LineAppender(self.part, end)
        self._before, self._began = self.tally.seconds, time.monotonic()
        self._sync()

    def write(self, answer: OutputRow) -> None:
        """Appends one answer."""
        self._file.append(answer.line)
        self._count(self.tally.add(answer.outcome), answer.digest)
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        """Closes an unfinished run, which a later call can continue."""
        with self._file:
            self._sync()

    def finish(self) -> None:
        """Turns the answers into the output."""
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
            self._count(self.tally.add(Outcome.read(answer)), row.digest)
            end += len(line)
            if record and self.tally.texts == record.tally.texts:
                if self._done[1].hexdigest() != record.input:
                    raise self._changed(path)
                self._done = (record.tally, self._done[1])  # it also holds what the rows do not say
        return end

    def _count(self, tally: Tally, digest: bytes) -> None:
        rows = self._done[1].copy()
        rows.update(digest)
        self._done = (tally, rows)

    def _changed(self, path: Path) -> OtherRunError:
        problem = "is of a run on another input, which differs before or in row"
        return OtherRunError(path, f"{problem} {self.tally.texts + 1}", _RESTART)

    def _sync(self, complete: bool = False) -> None:
        self._file.sync()
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
        raise OutputError(path, f"is not a record of a run ({explain(e)[0]})", _RESTART) from e
