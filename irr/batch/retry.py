"""Finds the failed rows of a finished output and puts their new answers among the other rows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from irr.batch.rows import OutputRow, Row, read_output_row
from irr.batch.tally import Outcome
from irr.errors import OutputError
from irr.io.streams import open_source
from irr.types import Costs


class Retry:
    """Reads an output at two places at a time: ahead to find failed rows, behind to copy the others.

    A row failed if it carries an error, or a stage answered it without its language model.

    Args:
        output: The finished output.
        done: How many of its rows were written before.
    """

    def __init__(self, output: Path, done: int) -> None:
        self._output = output
        self._done = done
        # Digests, 16 bytes each, of the rows that are read ahead and not yet copied.
        self._digests = bytearray()

    def failed(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yields the input's rows that failed; these may have been corrected since.

        Raises:
            OutputError: If another row differs from the one that was answered.
        """
        number = self._done
        for _, answer in self._answers():
            number += 1
            row = next(rows, None)
            if row is None or (not _failed(answer) and row.id != answer["id"]):
                raise self._differs(number)
            if _failed(answer):
                yield row
            else:
                self._digests += row.digest
        if next(rows, None) is not None:
            raise self._differs(number + 1)

    def among(self, answers: Iterator[OutputRow]) -> Iterator[OutputRow]:
        """Yields all rows of the output, with the new answers in place of the failed ones."""
        lines = self._answers()
        for answer in answers:
            yield from self._kept(lines)
            yield answer
        yield from self._kept(lines)

    def _kept(self, lines: Iterator[tuple[bytes, dict[str, Any]]]) -> Iterator[OutputRow]:
        """The rows before the next failed one, which is skipped."""
        for line, answer in lines:
            if _failed(answer):
                return
            digest = bytes(self._digests[:16])
            del self._digests[:16]
            outcome = Outcome.read(answer).model_copy(update={"costs": Costs()})  # they were paid before
            yield OutputRow(digest, line, outcome)

    def _answers(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        with open_source(str(self._output)) as source:
            for line in islice(source.lines(sys.maxsize), self._done, None):
                answer = read_output_row(line or b"")
                if line is None or answer is None:
                    raise OutputError(
                        self._output, "holds a line that is not an output row", "add --restart instead"
                    )
                yield line, answer

    def _differs(self, number: int) -> OutputError:
        hint = "name the input that was classified into it"
        return OutputError(self._output, f"row {number} does not answer this input", hint)


def _failed(answer: dict[str, Any]) -> bool:
    return answer["error"] is not None or "fallbacks" in answer
