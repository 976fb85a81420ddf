"""The failed rows of a finished output: found, answered again, and put back among the others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from irr.batch.rows import OutputRow, Row, read_output_row
from irr.errors import OutputError
from irr.io.streams import open_source
from irr.types import Costs


class Retry:
    """Walks an output twice, a little apart: to find what failed, and to keep what did not.

    A row failed if it carries an error, or did without its language model.

    Args:
        output: The finished output.
        done: How many of its rows have been passed already.
    """

    def __init__(self, output: Path, done: int) -> None:
        self._output = output
        self._done = done
        # The digests of kept rows that have been read but not written; 16 bytes each.
        self._digests = bytearray()

    def failed(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yields those of the input's rows that failed.

        They may have been corrected since; the others must be the ones that were answered.

        Raises:
            OutputError: If they are not.
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
        """Yields all rows of the output, those that failed as they are answered now."""
        lines = self._answers()
        for answer in answers:
            yield from self._kept(lines)
            yield answer
        yield from self._kept(lines)

    def _kept(self, lines: Iterator[tuple[bytes, dict[str, Any]]]) -> Iterator[OutputRow]:
        """The rows up to the next that failed, which is passed over."""
        for line, answer in lines:
            if _failed(answer):
                return
            digest = bytes(self._digests[:16])
            del self._digests[:16]
            abstained, scope = answer.get("abstained", False), answer.get("scope")
            yield OutputRow(digest, line, False, False, Costs(), abstained, scope)

    def _answers(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        with open_source(str(self._output)) as source:
            for line in islice(source.lines(sys.maxsize), self._done, None):
                answer = read_output_row(line or b"")
                if line is None or answer is None:
                    raise OutputError(self._output, "holds a line that is no output row", "classify anew")
                yield line, answer

    def _differs(self, number: int) -> OutputError:
        hint = "give the input that the output was made of"
        return OutputError(self._output, f"row {number} is not of this input", hint)


def _failed(answer: dict[str, Any]) -> bool:
    return answer["error"] is not None or "fallbacks" in answer
