"""The label space: the labels that a text can get, checked, in a fixed order, and their file formats."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from irr.errors import LabelSpaceError, UsageError
from irr.io.columns import LABELS, OWN_NAMES, Columns
from irr.io.records import frame_records, read_models
from irr.io.streams import ending, read_lines
from irr.io.tables import TABLES
from irr.io.validation import explain
from irr.labels.rdf import FORMATS
from irr.labels.skos import DEFAULT_LANGUAGE, SkosCounts, read_skos
from irr.text.words import clean
from irr.types import Example, Label


class LabelSpace:
    """The labels that a text can get, in a fixed order.

    Attributes:
        labels: The labels; arrays refer to them by position.
        counts: Counts of what was read of a SKOS file and what was left out; None for other sources.
    """

    counts: SkosCounts | None = None

    def __init__(self, labels: Iterable[Label | Mapping[str, Any] | str]) -> None:
        """Takes labels, their mappings, bare names (the name is then the id), or a data frame of labels.

        Raises:
            LabelSpaceError: If there are no labels, one cannot be used, or two share an id.
        """
        given = frame_records(labels, LABELS)
        self.labels = _checked(((row, _as_label(item, row)) for row, item in enumerate(given, 1)), "labels")

    @classmethod
    def read(cls, path: str | Path, language: str | None = None, columns: Columns = OWN_NAMES) -> LabelSpace:
        """Reads a file of labels, its format named by its ending; `.gz` or `.zst` may follow.

        Args:
            path: A JSONL file, a table, a `.txt` file with one name a line, or a SKOS file.
            language: For SKOS: language tags by preference, with commas between; English if None.
            columns: The columns of a table, or keys of a JSONL file, that hold the fields.

        Raises:
            LabelSpaceError: With file and row, if the file cannot be used.
            MissingExtraError: If its format needs a package that is not installed.
            UsageError: If a language tag is malformed, or given for a file that is not SKOS.
        """
        path = Path(path)
        suffix = ending(path)
        if language is not None and suffix not in FORMATS:
            raise UsageError(f"a language is named, but {path} is not SKOS", "leave the language out")
        space = cls.__new__(cls)
        if suffix in FORMATS:
            labels, space.counts = read_skos(path, DEFAULT_LANGUAGE if language is None else language)
            rows: Iterable[tuple[int, Label]] = enumerate(labels, 1)
        elif suffix in (".jsonl", *TABLES):
            rows = read_models(path, Label, LABELS, columns)
        elif suffix == ".txt":
            rows = _read_names(path)
        else:
            problem = f"unknown format {suffix or 'without an ending'}"
            hint = f"name the file by its format, one of {', '.join(('.jsonl', *TABLES, '.txt', *FORMATS))}"
            raise LabelSpaceError(path, problem, hint)
        space.labels = _checked(rows, path)
        return space

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> Label:
        return self.labels[number]

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __contains__(self, label_id: object) -> bool:
        return label_id in self.number_of

    @cached_property
    def number_of(self) -> dict[str, int]:
        """Position of each label by its id."""
        return {label.id: number for number, label in enumerate(self.labels)}

    @cached_property
    def examples(self) -> tuple[Example, ...]:
        """The example texts of all labels; a text of several labels is one example."""
        labels_of: dict[str, list[str]] = {}
        for label in self.labels:
            for text in filter(clean, label.examples):
                labels_of.setdefault(text, []).append(label.id)
        return tuple(
            Example(text=text, labels=tuple(dict.fromkeys(labels))) for text, labels in labels_of.items()
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all content, in order; any edit changes it."""
        digest = hashlib.sha256()
        for label in self.labels:
            digest.update(label.model_dump_json(exclude_defaults=True).encode())
            digest.update(b"\n")
        return digest.hexdigest()


def _read_names(path: Path) -> Iterator[tuple[int, Label]]:
    for row, line in read_lines(path, LabelSpaceError):
        if name := line.strip():
            yield row, Label(id=name, name=name)


def _as_label(item: Label | Mapping[str, Any] | str, row: int) -> Label:
    try:
        return Label.model_validate({"id": item, "name": item} if isinstance(item, str) else item)
    except ValidationError as e:
        raise LabelSpaceError("labels", *explain(e), row) from e


def _checked(rows: Iterable[tuple[int, Label]], source: Path | str) -> tuple[Label, ...]:
    labels: list[Label] = []
    row_of: dict[str, int] = {}
    for row, label in rows:
        if not label.name.strip():
            raise LabelSpaceError(source, 'empty "name"', "give every label a name", row)
        first = row_of.setdefault(label.id, row)
        if first != row:
            problem = f'id "{label.id}" is already in row {first}'
            raise LabelSpaceError(source, problem, "give every label its own id", row)
        labels.append(label)
    if not labels:
        raise LabelSpaceError(source, "no labels", "put at least one label in it")
    return tuple(labels)
