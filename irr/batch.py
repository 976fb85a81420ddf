"""The batch job: a JSONL file of texts in, exactly one output row for each, in order."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import tee
from pathlib import Path
from typing import TextIO

from irr.errors import TextsError, UsageError
from irr.files import replace_file
from irr.pipeline import InferRetrieveRank
from irr.texts import TextRow, output_row, read_rows

STANDARD = "-"


def classify_file(
    program: InferRetrieveRank,
    source: Path,
    out: TextIO,
    top_k: int,
    on_text: Callable[[], None] = lambda: None,
) -> tuple[int, int]:
    """Classifies every row of `source` and writes an output row for each as it is done.

    Returns:
        How many texts there were, and how many of them carry an error.
    """
    # Predictions come in groups: `tee` holds the rows that the program has read ahead.
    rows, ahead = tee(row for _, row in read_rows(source, TextRow))
    texts = errors = 0
    for row, prediction in zip(rows, program.batch((r.text for r in ahead), top_k), strict=True):
        out.write(output_row(row, prediction))
        texts += 1
        errors += prediction.error is not None
        on_text()
    return texts, errors


@contextmanager
def open_input(name: str) -> Iterator[Path]:
    """The file of that name, or all of stdin put into a file, so that it can be checked before any work."""
    if name != STANDARD:
        yield Path(name)
        return
    with tempfile.TemporaryDirectory(prefix="irr-") as folder:
        path = Path(folder) / "stdin"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        try:
            yield path
        except TextsError as e:
            raise TextsError("stdin", e.problem, e.hint, e.row) from e


@contextmanager
def open_output(name: str, source: Path) -> Iterator[TextIO]:
    """The file of that name, complete or not there, or stdout.

    Raises:
        OutputError: If it cannot be written; raised before the block starts.
        UsageError: If it is the input.
    """
    if name == STANDARD:
        yield sys.stdout
        return
    path = Path(name)
    if path.exists() and source.exists() and path.samefile(source):
        raise UsageError(f"{name} is both input and output", "name another output file")
    with replace_file(path) as file:
        yield file
