"""Changes of a label space: new labels, splits and merges as a file, and the next version made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from irr.errors import InputError, UsageError
from irr.io.streams import read_lines
from irr.io.texts import GoldRow
from irr.io.validation import parse_json_row
from irr.labels.space import LabelSpace
from irr.text.words import clean
from irr.types import Label, LabelId


class _Change(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    evidence: dict[str, Any] = {}

    def as_line(self) -> str:
        """The change as a line of a file, without what is not set."""
        fields = self.model_dump(mode="json", exclude_defaults=True)
        return json.dumps({"change": getattr(self, "change", None), **fields}, ensure_ascii=False)


class New(_Change):
    """A label that is added."""

    change: Literal["new"] = "new"
    label: Label

    def __str__(self) -> str:
        return self.label.name


class Split(_Change):
    """A label that gets narrower ones below it, and keeps its id."""

    change: Literal["split"] = "split"
    id: LabelId
    into: Annotated[tuple[Label, ...], Field(min_length=1)]

    def __str__(self) -> str:
        return f"{self.id}: {' | '.join(label.name for label in self.into)}"


class Merge(_Change):
    """Labels that become one: the first, which keeps its id."""

    change: Literal["merge"] = "merge"
    ids: Annotated[tuple[LabelId, ...], Field(min_length=2)]

    def __str__(self) -> str:
        return " = ".join(self.ids)


Change = New | Split | Merge


class _Row(RootModel[Annotated[Change, Field(discriminator="change")]]):
    pass


def read_changes(path: Path) -> list[Change]:
    """Reads a file of changes, one JSON object a line.

    Raises:
        InputError: With file and row, for what is no change.
    """
    rows = ((number, line) for number, line in read_lines(path, InputError) if line.strip())
    return [parse_json_row(_Row, line, path, number, InputError).root for number, line in rows]


def apply(space: LabelSpace, changes: Sequence[Change]) -> LabelSpace:
    """The next version: new labels and splits first, merges last; ids of labels that stay are the same.

    Raises:
        UsageError: If a change names a label that is not there, or adds one that is.
    """
    labels = {label.id: label for label in space}
    for change in changes:
        if isinstance(change, New):
            _add(labels, change.label)
        elif isinstance(change, Split):
            _known(labels, change.id)
            for part in change.into:
                parents = tuple(dict.fromkeys((*part.parents, change.id)))
                _add(labels, part.model_copy(update={"parents": parents}))
    into = _merges(labels, changes)
    for label, kept in into.items():
        labels[kept] = _one(labels[kept], labels.pop(label))
    return LabelSpace([_with_parents(label, into) for label in labels.values()])


def carry_gold(rows: Iterable[GoldRow], changes: Sequence[Change]) -> list[GoldRow]:
    """Texts with the labels of the next version.

    A merged label's id becomes that of the one it joined. A split label's gives way to a part's where the
    text is one of the part's examples, and stays elsewhere: it is the broader label.
    """
    into = _merges({}, changes, check=False)
    parts = {
        (change.id, clean(text)): part.id
        for change in changes
        if isinstance(change, Split)
        for part in change.into
        for text in part.examples
    }
    carried = []
    for row in rows:
        narrowed = [parts.get((label, clean(row.text)), label) for label in row.labels]
        labels = tuple(dict.fromkeys(into.get(label, label) for label in narrowed))
        carried.append(row.model_copy(update={"labels": labels}))
    return carried


def _merges(labels: dict[str, Label], changes: Sequence[Change], check: bool = True) -> dict[str, str]:
    """The id that each merged label's becomes."""
    into: dict[str, str] = {}
    for change in changes:
        if not isinstance(change, Merge):
            continue
        for label in change.ids if check else ():
            _known(labels, label)
        first = _end(into, change.ids[0])
        for label in change.ids[1:]:
            if (other := _end(into, label)) != first:
                into[other] = first
    return {label: _end(into, label) for label in into}


def _end(into: dict[str, str], label: str) -> str:
    while label in into:
        label = into[label]
    return label


def _one(main: Label, added: Label) -> Label:
    """Two labels as one, which has the first one's id, name and description."""
    names = dict.fromkeys((*main.aliases, added.name, *added.aliases))
    names.pop(main.name, None)
    priors = [label.prior for label in (main, added) if label.prior is not None]
    return main.model_copy(
        update={
            "description": main.description or added.description,
            "aliases": tuple(names),
            "parents": tuple(dict.fromkeys((*main.parents, *added.parents))),
            "prior": min(1.0, sum(priors)) if priors else None,
            "examples": tuple(dict.fromkeys((*main.examples, *added.examples))),
        }
    )


def _with_parents(label: Label, into: dict[str, str]) -> Label:
    parents = tuple(dict.fromkeys(into.get(parent, parent) for parent in label.parents))
    return label.model_copy(update={"parents": tuple(parent for parent in parents if parent != label.id)})


def _add(labels: dict[str, Label], label: Label) -> None:
    if label.id in labels:
        raise UsageError(f'the new label "{label.id}" is there already', "give it another id")
    labels[label.id] = label


def _known(labels: dict[str, Label], label: str) -> None:
    if label not in labels:
        raise UsageError(f'a change names "{label}", which is no label', "correct it, or give its label file")
