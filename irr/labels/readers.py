"""Chooses the reader of a label file by its ending."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from irr.errors import LabelSpaceError, UsageError
from irr.io.columns import LABELS, OWN_NAMES, Columns
from irr.io.records import read_models
from irr.io.streams import ending, read_lines
from irr.io.tables import TABLES
from irr.labels.skos.counts import SkosCounts
from irr.labels.skos.languages import DEFAULT_LANGUAGE
from irr.labels.skos.rdf import FORMATS
from irr.labels.skos.reader import read_skos
from irr.types import Label

Read: TypeAlias = tuple[Iterable[tuple[int, Label]], SkosCounts | None]
Reader: TypeAlias = Callable[[Path, str, Columns], Read]


def read_labels(path: Path, language: str | None = None, columns: Columns = OWN_NAMES) -> Read:
    """The labels of a file with their row numbers, and for SKOS the counts of what was read and left out.

    Raises:
        LabelSpaceError: Here or while rows are read, if the file cannot be used.
        UsageError: If a language tag is malformed, or given for a file that is not SKOS.
    """
    suffix = ending(path)
    if language is not None and suffix not in FORMATS:
        raise UsageError(f"a language is named, but {path} is not SKOS", "leave the language out")
    if suffix not in READERS:
        problem = f"unknown format {suffix or 'without an ending'}"
        raise LabelSpaceError(path, problem, f"name the file by its format, one of {', '.join(READERS)}")
    return READERS[suffix](path, DEFAULT_LANGUAGE if language is None else language, columns)


def _rows(path: Path, _language: str, columns: Columns) -> Read:
    return read_models(path, Label, LABELS, columns), None


def _names(path: Path, _language: str, _columns: Columns) -> Read:
    def names() -> Iterator[tuple[int, Label]]:
        for row, line in read_lines(path, LabelSpaceError):
            if name := line.strip():
                yield row, Label(id=name, name=name)

    return names(), None


def _skos(path: Path, language: str, _columns: Columns) -> Read:
    labels, counts = read_skos(path, language)
    return enumerate(labels, 1), counts


READERS: dict[str, Reader] = {
    ".jsonl": _rows,
    **dict.fromkeys(TABLES, _rows),
    ".txt": _names,
    **dict.fromkeys(FORMATS, _skos),
}
