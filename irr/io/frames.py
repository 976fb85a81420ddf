"""Data frames in: pandas, polars, pyarrow and others, through narwhals, which imports none of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from irr.errors import InputError, UsageError
from irr.io.columns import OWN_NAMES
from irr.io.records import Kind, field_value
from irr.io.tables import plain
from irr.types import RowError

# Types that are no data frames, for which narwhals is not imported.
_PLAIN = (list, tuple, set, frozenset, dict, range)


def records(data: Any, kind: Kind) -> Iterable[Any]:
    """The rows of a data frame as mappings by field, the values of a series; other data is unchanged.

    Raises:
        UsageError: If a column is missing, or the frame is lazy.
    """
    frame = _native(data)
    if frame is None:
        return data  # type: ignore[no-any-return]
    if not hasattr(frame, "columns"):
        return [plain(value) for value in frame]
    header = [str(name) for name in frame.columns]
    found = _columns(header, kind.fields, kind.needed)
    rows = frame.select([frame.columns[place] for place in found]).iter_rows()
    names = list(found.values())
    return ({name: field_value(name, cell) for name, cell in zip(names, row, strict=True)} for row in rows)


def texts(data: Any) -> Iterator[str | RowError]:
    """The texts of a data frame's column `text`, of a series, or of an iterable.

    A missing value (None, NaN) or a value of another type becomes the error of its row.

    Raises:
        UsageError: At the call, if there is no such column, or the frame is lazy.
    """
    frame = _native(data)
    if frame is None:
        if not isinstance(data, Iterable):
            raise UsageError(f"{type(data).__name__} holds no texts", "give a list of texts")
        values = data
    elif hasattr(frame, "columns"):
        (place,) = _columns([str(name) for name in frame.columns], ("text",), ("text",))
        values = frame.get_column(frame.columns[place])
    else:
        values = frame
    return map(_text, values)


def _text(value: Any) -> str | RowError:
    if isinstance(value, str):
        return value
    if plain(value) is None:
        return RowError(code="empty_text", message="the text is missing")
    message = f"{type(value).__name__} is not a text: give a string"
    return RowError(code="bad_row", message=message)


def _columns(header: list[str], fields: Iterable[str], needed: Iterable[str]) -> dict[int, str]:
    try:
        return OWN_NAMES.find(header, fields, needed, InputError("the data frame", "", ""))
    except InputError as e:
        raise UsageError(f"the data frame: {e.problem}", "rename a column of it") from e


def _native(data: Any) -> Any:
    """The frame or series behind narwhals' interface; None for other data."""
    if isinstance(data, str | bytes | Iterator) or type(data) in _PLAIN:
        return None
    import narwhals as nw

    frame = nw.from_native(data, pass_through=True, allow_series=True)
    if isinstance(frame, nw.LazyFrame):
        raise UsageError("the data frame is lazy", "compute it first, as with .collect()")
    if isinstance(frame, nw.DataFrame | nw.Series):
        return frame
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__dataframe__"):
        raise UsageError(f"unknown data frame {type(data).__name__}", "give a list, or a pandas data frame")
    return None
