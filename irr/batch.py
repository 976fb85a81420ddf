"""The batch job: a JSONL file of texts in, exactly one output row for each, in order."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import tee
from pathlib import Path
from typing import TextIO

from irr.errors import OutputError, TextsError, UsageError
from irr.files import replace_file
from irr.pipeline import InferRetrieveRank
from irr.texts import TextRow, output_row, read_rows
from irr.types import Costs, Prediction

STANDARD = "-"


@dataclass
class Summary:
    """What a batch came to.

    Attributes:
        texts: Rows read and written.
        errors: How many of them carry an error.
        fallbacks: How many were answered without a language model that should have been asked.
        costs: What language-model calls cost, by stage.
    """

    texts: int = 0
    errors: int = 0
    fallbacks: int = 0
    costs: Costs = field(default_factory=Costs)

    def add(self, prediction: Prediction) -> None:
        """Counts one text."""
        self.texts += 1
        self.errors += prediction.error is not None
        self.fallbacks += bool(prediction.fallbacks)
        self.costs += prediction.costs


def classify_file(
    program: InferRetrieveRank,
    source: Path,
    out: TextIO,
    top_k: int,
    costs: bool = False,
    on_text: Callable[[], None] = lambda: None,
) -> Summary:
    """Classifies every row of `source` and writes an output row for each as it is done."""
    # Predictions come in groups: `tee` holds the rows that the program has read ahead.
    rows, ahead = tee(row for _, row in read_rows(source, TextRow))
    summary = Summary()
    for row, prediction in zip(rows, program.batch((r.text for r in ahead), top_k), strict=True):
        out.write(output_row(row, prediction, costs))
        summary.add(prediction)
        on_text()
    return summary


@contextmanager
def open_input(name: str) -> Iterator[Path]:
    """The file of that name; what can be read once only (stdin, a pipe) is put into a file first.

    It is read twice: to check it before any work, and to classify it.
    """
    path = Path(name)
    if name != STANDARD and (path.is_file() or not path.exists() or path.is_dir()):
        yield path
        return
    shown = "stdin" if name == STANDARD else name
    with tempfile.TemporaryDirectory(prefix="irr-") as folder:
        copy = Path(folder) / "stdin"
        with copy.open("wb") as file:
            if name == STANDARD:
                shutil.copyfileobj(sys.stdin.buffer, file)
            else:
                with path.open("rb") as source:
                    shutil.copyfileobj(source, file)
        try:
            yield copy
        except TextsError as e:
            raise TextsError(shown, e.problem, e.hint, e.row) from e


@contextmanager
def open_output(name: str, *sources: Path | None) -> Iterator[TextIO]:
    """The file of that name, complete or not there, or stdout.

    Raises:
        OutputError: If it cannot be written; raised before the block starts.
        UsageError: If it is one of the files that are read.
    """
    if name == STANDARD:
        yield sys.stdout
        return
    path = Path(name)
    try:
        for source in sources:
            if source and path.is_file() and source.exists() and path.samefile(source):
                raise UsageError(f"{name} is both read and written", "name another output file")
    except OSError as e:
        raise OutputError(path, f"cannot be written ({e.strerror})", "choose another output path") from e
    with replace_file(path) as file:
        yield file
