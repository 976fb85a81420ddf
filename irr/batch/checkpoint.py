"""A run on disk: its answers survive a crash, and a later call of the same run continues it.

While a run lasts, `OUTPUT.part` holds its rows and `OUTPUT.part.json` identifies it. At the end they become
`OUTPUT` and `OUTPUT.run.json`. Rows are appended; a call that continues a run first truncates a torn row.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from irr.batch.rows import InputRow, OutputRow, Tally, answer_columns, read_output_row
from irr.errors import OtherRunError, OutputError
from irr.io.outputs import replace_file, sync_folder
from irr.io.streams import COMPRESSED, compressed, ending, open_source
from irr.io.tables import TABLES, write_table
from irr.io.validation import explain
from irr.types import Costs

# Seconds of work that a power cut may lose; a kill loses none.
_SYNC_SECONDS = 5.0
_RESTART = "repeat the call that began it, name another output, or restart it"
# What differs, where the values themselves would not help.
_DIFFERENCES = {
    "labels": "other labels",
    "decision": "labels chosen in another way",
    "program": "another language model, task or calibration",
}


class RunRecord(BaseModel):
    """A run on disk.

    Attributes:
        run: Everything by name that the answers depend on besides the input.
        tally: The tally of the rows that are on the disk for sure.
        input: The digest of the input rows that are counted in it.
        complete: Whether these are all rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    run: dict[str, Any]
    tally: Tally
    input: str
    complete: bool = False

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Reads a record; raises an OutputError if the file does not hold one."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as e:
            raise OutputError(path, f"is not a record of a run ({explain(e)[0]})", _RESTART) from e

    def check(self, path: Path, run: Mapping[str, Any]) -> None:
        """Raises an OtherRunError with the first difference if a call is of another run."""
        for name, value in run.items():
            if self.run.get(name) != value:
                difference = _DIFFERENCES.get(name, f"{name} was {self.run.get(name)}, is {value}")
                raise OtherRunError(path, f"is of another run ({difference})", _RESTART)


class Checkpoint:
    """The answers of one run, which it writes to `output`; `separator` stands between the cells of CSV.

    Its methods raise an OutputError if a file in the place of a run was not written by one.
    """

    def __init__(self, output: Path, separator: str = "") -> None:
        self._separator = separator
        self.output = Path(os.path.realpath(output))
        self.part = _beside(self.output, ".part")
        self._part_record = _beside(self.part, ".json")
        self._record = _beside(self.output, ".run.json")
        # The tally and the digest of its rows: one tuple, so that an interrupt leaves both or neither.
        self._done = (Tally(), "")

    @property
    def tally(self) -> Tally:
        """The sums over the rows that were written."""
        return self._done[0]

    @property
    def unfinished(self) -> bool:
        """Whether an unfinished run is there."""
        if _has_content(self.part) and not self._part_record.exists():
            raise OutputError(self.part, "is in the way, and was not written by a run", "move it away")
        return self._part_record.exists()

    @property
    def finished(self) -> bool:
        """Whether a finished output is there."""
        if not self._record.exists() and _has_content(self.output):
            hint = "name another output, or restart to replace it"
            raise OutputError(self.output, "exists, and was not written by a run", hint)
        return self._record.exists() and self.output.exists()

    def recover(self) -> None:
        """Completes the last steps of a run that was killed between them."""
        if not self.part.exists() and self._part_record.exists():
            if RunRecord.read(self._part_record).complete:  # killed just before its last step
                self._part_record.replace(self._record)
            else:  # somebody removed its rows
                self._part_record.unlink()

    def drop(self) -> None:
        """Deletes an unfinished run."""
        if self.unfinished:
            # Rows first: `recover` takes a record without rows for a complete or a void run.
            os.truncate(self.part, 0)
            self._part_record.unlink()
            self.part.unlink()

    def publish(self) -> None:
        """Writes a copy of an unfinished run's answers as the output; the run can still continue."""
        if self.unfinished:
            with self.part.open(encoding="utf-8") as answers, replace_file(self.output) as file:
                shutil.copyfileobj(answers, file)

    def check_finished(self, run: Mapping[str, Any]) -> None:
        """Raises an OtherRunError if the finished output is not this run's, with or without a retry."""
        record = RunRecord.read(self._record)
        record.check(self.output, {**run, "retry_errors": record.run.get("retry_errors")})

    def check_input(self, rows: Iterator[InputRow]) -> None:
        """Raises an OtherRunError if the finished output does not answer exactly these rows."""
        record, digest, texts = RunRecord.read(self._record), "", 0
        for row in rows:
            digest = _chained(digest, row)
            texts += 1
        if (digest, texts) != (record.input, record.tally.texts):
            raise OtherRunError(self.output, "is of a run on another input", _RESTART)
        self._done = (record.tally, digest)

    def open(self, run: Mapping[str, Any], rows: Iterator[InputRow]) -> None:
        """Opens the run for writing, and skips the rows that it already answers; these must be its input."""
        end = 0
        if self.unfinished:
            record = RunRecord.read(self._part_record)
            record.check(self.part, run)
            end = self._skip_answered(rows, record)
        self._run = dict(run)
        self._file = self.part.open("ab")
        self._file.truncate(end)
        sync_folder(self.part.parent)
        self._began = time.monotonic() - self.tally.seconds
        self._sync()

    def write(self, answer: OutputRow) -> None:
        """Appends one answer; a kill of this process loses nothing from here on."""
        self._file.write(answer.line)
        self._file.flush()
        self._count(answer.tally, answer)
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        """Closes an unfinished run, which a later call can continue; a run without answers is deleted."""
        with self._file:
            self._sync()
        if not _has_content(self.part):
            self.drop()  # no answer is lost, and a corrected call need not be the same run

    def finish(self) -> None:
        """Turns the answers into the output."""
        with self._file:
            self._sync(complete=True)
        is_table = ending(self.output) in TABLES
        if is_table or self.output.suffix in COMPRESSED:
            with replace_file(self.output) as file, compressed(file.buffer, self.output) as target:
                if is_table:
                    columns = answer_columns(self._answers())
                    write_table(columns, self._answers, self.output, target, self._separator)
                else:
                    with self.part.open("rb") as answers:
                        shutil.copyfileobj(answers, target, 2**20)
            self.part.unlink()
        else:
            self.part.replace(self.output)
        self._part_record.replace(self._record)

    def _answers(self) -> Iterator[dict[str, Any]]:
        with self.part.open("rb") as lines:
            yield from map(json.loads, lines)

    def _skip_answered(self, rows: Iterator[InputRow], record: RunRecord) -> int:
        """Counts the answers that are there, each to the next of `rows`; returns where the last one ends."""
        end = 0
        with self.part.open("rb") as lines:
            for line in lines:
                answer = read_output_row(line)
                if answer is None:
                    break
                row = next(rows, None)
                if row:
                    self._count(Tally.read(answer), row)
                tally, digest = self._done
                counted = tally.texts == record.tally.texts
                if not row or row.id != answer["id"] or (counted and digest != record.input):
                    place = f"which differs before or in row {tally.texts}"
                    raise OtherRunError(self.part, f"is of a run on another input, {place}", _RESTART)
                if counted:
                    self._done = (record.tally, digest)  # it also holds what the rows do not say
                end += len(line)
        return end

    def _count(self, tally: Tally, row: InputRow | OutputRow) -> None:
        self._done = (self.tally + tally, _chained(self._done[1], row))

    def _sync(self, complete: bool = False) -> None:
        """Writes the rows through to the disk, and then their record."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()
        tally, digest = self._done
        tally = tally.model_copy(update={"seconds": self._synced - self._began})
        self._done = (tally, digest)
        record = RunRecord(run=self._run, tally=tally, input=digest, complete=complete)
        fresh = _beside(self._part_record, ".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(record.model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._part_record)


class FailedRows:
    """The failed rows of a finished output after the first `done`, and their new answers among the others.

    A row failed if it carries an error, or a stage answered it without its language model. The output is read
    at two places at a time: ahead to find failed rows, behind to copy the others.
    """

    def __init__(self, output: Path, done: int) -> None:
        self._output = output
        self._done = done
        self._digests = bytearray()  # 16 bytes for each row that is read ahead and not yet copied

    def inputs(self, rows: Iterator[InputRow]) -> Iterator[InputRow]:
        """Yields the input's rows that failed; only these may have been corrected since."""
        for number, (row, old) in enumerate(zip_longest(rows, self._answers()), self._done + 1):
            _, answer, failed = old or (b"", {}, False)
            if row is None or old is None or (not failed and row.id != answer["id"]):
                hint = "name the input that was classified into it"
                raise OutputError(self._output, f"row {number} does not answer this input", hint)
            if failed:
                yield row
            else:
                self._digests += row.digest

    def merge(self, answers: Iterator[OutputRow]) -> Iterator[OutputRow]:
        """Yields all rows of the output, with the new answers in place of the failed ones."""
        lines = self._answers()
        for new in chain(answers, [None]):
            for line, old, failed in lines:
                if failed:
                    break
                digest = bytes(self._digests[:16])
                del self._digests[:16]
                # What they cost is in the sums of the run that answered them.
                yield OutputRow(digest, line, Tally.read(old).model_copy(update={"costs": Costs()}))
            if new:
                yield new

    def _answers(self) -> Iterator[tuple[bytes, dict[str, Any], bool]]:
        with open_source(str(self._output)) as source:
            for line in islice(source.lines(sys.maxsize), self._done, None):
                answer = read_output_row(line or b"")
                if line is None or answer is None:
                    problem = "holds a line that is not an output row"
                    raise OutputError(self._output, problem, "restart the run instead")
                yield line, answer, answer["error"] is not None or "fallbacks" in answer


def _chained(digest: str, row: InputRow | OutputRow) -> str:
    return hashlib.sha256(digest.encode() + row.digest).hexdigest()


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
