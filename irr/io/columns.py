"""Finds the columns or keys of a file that hold the fields, whatever their case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from irr.errors import InputError, UsageError

LABEL_FIELDS = ("id", "name", "description", "aliases", "parents", "prior")
TEXT_FIELDS = ("id", "text")
GOLD_FIELDS = ("id", "text", "labels")
# Fields of one kind of file only; a column named for `id` or `labels` may be of another file of the call.
_OF_ONE_KIND = frozenset((*LABEL_FIELDS, *GOLD_FIELDS)) - {"id", "labels"}


@dataclass(frozen=True)
class Columns:
    """The columns that a user named for fields; other fields are found by their own names.

    Attributes:
        named: The column by field.
    """

    named: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, option: str | None) -> Columns:
        """Reads `id=ID,name=Bezeichnung`; a column with a comma in its name cannot be named.

        Raises:
            UsageError: If it is not such a list, or names an unknown field.
        """
        known = dict.fromkeys((*LABEL_FIELDS, *GOLD_FIELDS))
        named: dict[str, str] = {}
        for part in (option or "").split(",") if option is not None else ():
            name, _, column = (side.strip() for side in part.partition("="))
            if not name or not column:
                raise UsageError(
                    f'--columns: "{part}" is not FIELD=COLUMN', "write it as in id=ID,name=Title"
                )
            if name not in known:
                raise UsageError(f'--columns: no field "{name}"', f"name some of {', '.join(known)}")
            if name in named:
                raise UsageError(f'--columns: "{name}" is given twice', "name one column for it")
            named[name] = column
        return cls(named)

    def find(
        self, header: Sequence[str], fields: Iterable[str], needed: Iterable[str], source: InputError
    ) -> dict[int, str]:
        """The field of each column that holds one, by the column's position.

        Args:
            header: The names of all columns.
            fields: The fields that a file of this kind can have.
            needed: The fields that it must have.
            source: An error with the class, file and row of errors to raise.

        Raises:
            InputError: As `source`, if a column is missing, or two have one name.
        """
        folded = [name.strip().casefold() for name in header]
        found: dict[int, str] = {}
        for name in fields:
            wanted = self.named.get(name)
            places = _places(header, folded, wanted) if wanted else []
            if wanted and not places and name in _OF_ONE_KIND:
                raise self._missing(source, wanted, header, "correct --columns")
            places = places or _places(header, folded, name)
            if len(places) > 1:
                problem = f'more than one column "{wanted or name}"'
                raise type(source)(source.path, problem, "keep one of them, or rename one", source.row)
            if places and places[0] not in found:
                found[places[0]] = name
            elif name in needed:
                raise self._missing(source, name, header, f"name it: --columns {name}=…")
        return found

    def rename(self, row: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
        """A row with its keys renamed to the fields; other keys are kept.

        An exact match goes before one of another case.
        """
        keys = list(row)
        names: dict[str, str] = {}
        for name in fields:
            wanted = self.named.get(name)
            key = (_key(keys, wanted) if wanted else None) or _key(keys, name)
            if key is not None:
                names.setdefault(key, name)
        taken = set(names.values())
        return {names.get(key, key): value for key, value in row.items() if key in names or key not in taken}

    @staticmethod
    def _missing(source: InputError, column: str, header: Sequence[str], hint: str) -> InputError:
        there = ", ".join(f'"{name}"' for name in header[:12]) + (", …" if len(header) > 12 else "")
        problem = f'no column "{column}"; the columns are {there}'
        return type(source)(source.path, problem, hint, source.row)


OWN_NAMES = Columns()


def _places(header: Sequence[str], folded: Sequence[str], wanted: str) -> list[int]:
    exact = [place for place, name in enumerate(header) if name == wanted]
    wanted = wanted.strip().casefold()
    return exact or [place for place, name in enumerate(folded) if name == wanted]


def _key(keys: Sequence[str], wanted: str) -> str | None:
    if wanted in keys:
        return wanted
    folded = wanted.strip().casefold()
    return next((key for key in keys if key.strip().casefold() == folded), None)
