"""The label space: the labels that a text can get, checked, in a fixed order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from irr.errors import LabelSpaceError
from irr.io.columns import LABELS, OWN_NAMES, Columns
from irr.io.records import frame_records
from irr.io.validation import explain
from irr.text.words import clean
from irr.types import Example, Label

if TYPE_CHECKING:
    from irr.labels.skos.counts import SkosCounts


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
            language: For SKOS: language tags, most wanted first, with commas between; English if None.
            columns: The columns of a table, or keys of a JSONL file, that hold the fields.

        Raises:
            LabelSpaceError: With file and row, if the file cannot be used.
            UsageError: If a language tag is malformed, or given for a file that is not SKOS.
        """
        from irr.labels.readers import read_labels

        path = Path(path)
        rows, counts = read_labels(path, language, columns)
        space = cls.__new__(cls)
        space.labels = _checked(rows, path)
        space.counts = counts
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


def _as_label(item: Label | Mapping[str, Any] | str, row: int) -> Label:
    if isinstance(item, Label):
        return item
    if isinstance(item, str):
        item = {"id": item, "name": item}
    try:
        return Label.model_validate(item)
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
            raise LabelSpaceError(
                source,
                f'id "{label.id}" is already in row {first}',
                "give every label an id of its own",
                row,
            )
        labels.append(label)
    if not labels:
        raise LabelSpaceError(source, "no labels", "put at least one label in it")
    return tuple(labels)
