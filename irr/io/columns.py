"""The fields of rows, the columns or keys of a file that hold them, and the values of their cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NamedTuple

from irr.errors import InputError, LabelSpaceError, TextsError, UsageError

# The separator of the members of a cell that holds a list.
BETWEEN = "|"
_LISTS = frozenset(("aliases", "parents", "labels"))
# Fields of one kind of file only; a column named for `id` or `labels` may be of another file of the call.
_OF_ONE_KIND = frozenset(("name", "description", "aliases", "parents", "prior", "text"))


class RowKind(NamedTuple):
    """A kind of rows: its fields, the error to raise for a bad file, and whether other columns are kept."""

    needed: tuple[str, ...]
    error: type[InputError]
    optional: tuple[str, ...] = ()
    extra: bool = True


LABELS = RowKind(("id", "name"), LabelSpaceError, ("description", "aliases", "parents", "prior"), extra=False)
TEXTS = RowKind(("id", "text"), TextsError)
EXAMPLES = RowKind(("text", "labels"), TextsError)
GOLD = RowKind(("id", "text", "labels"), TextsError)


@dataclass(frozen=True)
class Columns:
    """The columns that a user named, by field; other fields are found by their own names."""

    named: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, option: str | None) -> Columns:
        """Reads `id=ID,name=Bezeichnung`; raises a UsageError if that is no such list of known fields."""
        known = dict.fromkeys((*LABELS.needed, *LABELS.optional, *GOLD.needed))
        named: dict[str, str] = {}
        for part in (option or "").split(",") if option is not None else ():
            name, _, column = (side.strip() for side in part.partition("="))
            if not name or not column:
                raise UsageError(f'columns: "{part}" is not FIELD=COLUMN', "write it as in id=ID,name=Title")
            if name not in known:
                raise UsageError(f'columns: no field "{name}"', f"name some of {', '.join(known)}")
            if name in named:
                raise UsageError(f'columns: "{name}" is given twice', "name one column for it")
            named[name] = column
        return cls(named)

    def find(
        self, header: Sequence[str], kind: RowKind, source: str, row: int | None = None
    ) -> dict[int, str]:
        """The fields by position in the header; raises the kind's error if one is missing or comes twice."""
        there = "the columns are " + ", ".join(f'"{name}"' for name in header[:12])
        there += ", …" if len(header) > 12 else ""
        found: dict[int, str] = {}
        for one in kind.needed + kind.optional:
            column = self.named.get(one, one)
            places = _places(header, column)
            if not places and one in self.named and one in _OF_ONE_KIND:
                raise kind.error(source, f'no column "{column}"; {there}', "correct it in columns", row)
            places = places or _places(header, one)
            if len(places) > 1:
                problem = f'more than one column "{column}"'
                raise kind.error(source, problem, "keep one of them, or rename one", row)
            if places and places[0] not in found:
                found[places[0]] = one
            elif one in kind.needed:
                raise kind.error(source, f'no column "{one}"; {there}', f"name it in columns: {one}=…", row)
        return found

    def rename(self, record: Mapping[str, Any], kind: RowKind) -> dict[str, Any]:
        """A record with its keys renamed to the fields; other keys are kept."""
        keys = list(record)
        field_of: dict[str, str] = {}
        for one in kind.needed + kind.optional:
            if places := _places(keys, self.named.get(one, one)) or _places(keys, one):
                field_of.setdefault(keys[places[0]], one)
        taken = set(field_of.values())
        return {
            field_of.get(key, key): value
            for key, value in record.items()
            if key in field_of or key not in taken
        }


OWN_NAMES = Columns()


def _places(header: Sequence[str], wanted: str) -> list[int]:
    """The positions of a name; an exact match goes before one of another case."""
    folded = wanted.strip().casefold()
    exact = [place for place, name in enumerate(header) if name == wanted]
    return exact or [place for place, name in enumerate(header) if name.strip().casefold() == folded]


def distinct(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """The names, with underscores where one is taken or comes twice."""
    seen = set(taken)
    keys = []
    for key in names:
        while key in seen:
            key += "_"
        seen.add(key)
        keys.append(key)
    return keys


def field_value(name: str, cell: Any) -> Any:
    """The value of a field from a cell of a table or a data frame: lists are split, numbers read."""
    value = cell if isinstance(cell, str) else plain(cell)
    if name in _LISTS:
        if isinstance(value, str):
            return [part for member in value.split(BETWEEN) if (part := member.strip())]
        members = value if isinstance(value, list) else [value]
        return [_whole(member) for member in members if member is not None]
    match name:
        case "id":
            return "" if value is None else _whole(value)
        case "name" | "text":
            return "" if value is None else str(value)
        case "description":
            return None if value in (None, "") else str(value)
        case "prior" if isinstance(value, str):
            value = value.strip()
            # Excel writes a decimal comma in many countries.
            return (value.replace(",", ".") if value.count(",") == 1 and "." not in value else value) or None
    return value


def _whole(value: Any) -> Any:
    """A float without a fraction as an integer, because some tables hold only floats."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def plain(value: Any) -> Any:
    """A cell as JSON has it: missing values and NaN become None, dates become text."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case Decimal():
            number = float(value)
            return plain(int(value) if number.is_integer() else number)
        case bytes():
            return value.decode("utf-8", "replace")
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas' missing values
        return None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return plain(value.tolist())
    return str(value)
