"""Reads data into pydantic models, and explains in one line what does not fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from irr.errors import InputError

# Problem and hint by pydantic's type of a mistake.
_MISTAKES = {
    "json_invalid": ("not JSON", "write one JSON object a line"),
    "missing": ('no "{key}"', 'add "{key}"'),
    "extra_forbidden": ('unknown key "{key}"', "remove it"),
    "string_too_short": ('empty "{key}"', 'give "{key}" a value'),
    "too_short": ('empty "{key}"', 'give "{key}" a value'),
    "string_too_long": ('"{key}" is too long', "keep it to {max_length:,} characters"),
    "too_long": ('too many "{key}"', "keep at most {max_length:,}"),
    "string_pattern_mismatch": ('"{key}" has several lines', "write it in one line"),
    "string_type": ('"{key}" is not a string', "put it in quotes"),
    "tuple_type": ('"{key}" is not a list', 'write it as ["...", "..."]'),
    "list_type": ('"{key}" is not a list', 'write it as ["...", "..."]'),
    "value_error": ('"{key}": {error}', "correct the value"),
}

M = TypeVar("M", bound=BaseModel)


def parse_json_row(
    model: type[M], line: str, path: Path, row: int, error: type[InputError], repair: bool = False
) -> M:
    """Reads one line of JSON into `model`; its first mistake becomes an `error` with file and row.

    With `repair`, half a surrogate pair, which some writers escape, becomes a "?".
    """
    try:
        return model.model_validate_json(line)
    except ValidationError as e:
        if repair and (repaired := _without_surrogates(line)) != line:
            return parse_json_row(model, repaired, path, row, error)
        raise error(path, *explain(e), row) from e


def _without_surrogates(line: str) -> str:
    try:
        return json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8", "replace").decode()
    except (ValueError, RecursionError):
        return line


def explain(error: ValidationError, known: type[BaseModel] | None = None) -> tuple[str, str]:
    """The first mistake as a problem and a hint, without the data itself.

    An unknown key comes before other mistakes, because a mistyped key is also missing under its right name.
    Beside an unknown key, the hint lists the keys of the model if that is given as `known`.
    """
    mistakes = error.errors(include_url=False, include_input=False)
    first = min(mistakes, key=lambda mistake: mistake["type"] != "extra_forbidden")
    place, key = _place(first["loc"])
    problem, hint = _explained(first["type"], key, first["msg"], first.get("ctx", {}))
    if first["type"] == "extra_forbidden" and known and (keys := _keys(known, first["loc"][:-1])):
        hint = f"{hint}; the keys here are {', '.join(keys)}"
    return place + problem, hint


def _explained(kind: str, key: str, message: str, context: Mapping[str, Any]) -> tuple[str, str]:
    if kind in ("model_type", "model_attributes_type"):
        return (f'"{key}" is not a table' if key else "not a JSON object"), "give names and values"
    message = message[:1].lower() + message[1:]
    problem, hint = _MISTAKES.get(kind, ('"{key}": {message}', "correct the value"))
    values = {**context, "key": key, "message": message}
    return problem.format_map(values), hint.format_map(values)


def _place(loc: tuple[int | str, ...]) -> tuple[str, str]:
    """The place of a mistake in a list, from 1, and the key there, or the list's own key."""
    before = list(takewhile(lambda part: isinstance(part, str), loc))
    after = [part for part in loc[len(before) :] if isinstance(part, str)]
    place = f"{before[-1] if before else 'item'} {int(loc[len(before)]) + 1}: " if after else ""
    return place, ".".join(map(str, after or before))


def _keys(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that a model knows at a place in it; none if that is not a model."""
    for part in (part for part in loc if isinstance(part, str)):
        inner = _models(model.model_fields[part].annotation)
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models in an annotation such as `tuple[Demo, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
