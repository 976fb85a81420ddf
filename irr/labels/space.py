"""The label space: reads and checks labels from JSONL, CSV, TXT or SKOS, and fingerprints them."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from irr.errors import LabelSpaceError, UsageError
from irr.io.files import ending, parse_json_row, read_lines
from irr.labels.skos.languages import DEFAULT_LANGUAGE
from irr.labels.skos.rdf import FORMATS as RDF_FORMATS
from irr.types import Label

if TYPE_CHECKING:
    from irr.labels.skos.counts import SkosCounts

csv.field_size_limit(2**31 - 1)

READERS = (".jsonl", ".csv", ".txt", *RDF_FORMATS)


class LabelSpace:
    """All labels a text can get, in a fixed order.

    Attributes:
        labels: The labels; their position is the number that arrays use.
        counts: What was read of a SKOS file, and what was not; None for other sources.
    """

    counts: SkosCounts | None = None

    def __init__(self, labels: Iterable[Label | Mapping[str, Any] | str]) -> None:
        """Takes labels, their mappings, or bare names (the name is then the id).

        Raises:
            LabelSpaceError: If there are none, or one is unusable, or two share an id.
        """
        self.labels = _checked(((row, _as_label(item, row)) for row, item in enumerate(labels, 1)), "labels")

    @classmethod
    def read(cls, path: str | Path, language: str | None = None) -> LabelSpace:
        """Reads a `.jsonl`, `.csv` or `.txt` file of labels, or a SKOS file; `.gz` may follow.

        Args:
            path: The file, its format named by its ending.
            language: For SKOS: language tags, most wanted first, with commas between; English if None.

        Raises:
            LabelSpaceError: With file and row, for whatever makes it unusable.
            UsageError: If `language` is none, or the file is not SKOS.
        """
        path = Path(path)
        if language is not None and ending(path) not in RDF_FORMATS:
            raise UsageError(f"a language is named, but {path} is not SKOS", "leave the language out")
        counts: SkosCounts | None = None
        match ending(path):
            case ".jsonl":
                rows: Iterable[tuple[int, Label]] = _read_jsonl(path)
            case ".csv":
                rows = _read_csv(path)
            case ".txt":
                rows = _read_txt(path)
            case suffix if suffix in RDF_FORMATS:
                from irr.labels.skos.reader import read_skos

                labels, counts = read_skos(path, DEFAULT_LANGUAGE if language is None else language)
                rows = enumerate(labels, 1)
            case suffix:
                raise LabelSpaceError(
                    path,
                    f"unknown format {suffix or 'without an ending'}",
                    f"name the file by its format, one of {', '.join(READERS)}",
                )
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
        first = e.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "label"
        raise LabelSpaceError("labels", f'"{where}": {first["msg"]}', "correct the label", row) from e


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


def _read_jsonl(path: Path) -> Iterator[tuple[int, Label]]:
    for row, line in read_lines(path, LabelSpaceError):
        if line.strip():
            yield row, parse_json_row(Label, line, path, row, LabelSpaceError)


def _read_txt(path: Path) -> Iterator[tuple[int, Label]]:
    for row, line in read_lines(path, LabelSpaceError):
        if name := line.strip():
            yield row, Label(id=name, name=name)


def _read_csv(path: Path) -> Iterator[tuple[int, Label]]:
    reader = csv.DictReader((line for _, line in read_lines(path, LabelSpaceError)), strict=True)
    try:
        columns = reader.fieldnames or ()
        for column in ("id", "name"):
            if columns and columns.count(column) != 1:
                problem = f'{"no" if column not in columns else "more than one"} column "{column}"'
                raise LabelSpaceError(
                    path, problem, "the first row names the columns, id and name among them", 1
                )
        for values in reader:
            if None in values:
                raise LabelSpaceError(
                    path, "more cells than columns", "quote cells with commas", reader.line_num
                )
            yield reader.line_num, _from_csv(values, path, reader.line_num)
    except csv.Error as e:
        raise LabelSpaceError(path, f"not CSV ({e})", "quote the cell", reader.line_num) from e


def _from_csv(values: dict[str, str | None], path: Path, row: int) -> Label:
    fields: dict[str, Any] = {
        key: values[key] for key in ("id", "name", "description", "prior") if values.get(key)
    }
    for key in ("aliases", "parents"):
        fields[key] = [part.strip() for part in (values.get(key) or "").split("|") if part.strip()]
    try:
        return Label.model_validate(fields)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        key = str(first["loc"][0])
        problem = f'empty "{key}"' if first["type"] == "missing" else f'"{key}": {first["msg"]}'
        raise LabelSpaceError(path, problem, "correct the cell", row) from e
