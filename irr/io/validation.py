"""Says in one line what is wrong with data that does not fit a pydantic model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError


def explain(error: ValidationError) -> tuple[str, str]:
    """The first mistake as a problem and a hint, without the data itself.

    Where a key is both unknown and missing because it was mistyped, the unknown one is named: it shows what
    was typed.
    """
    mistakes = error.errors(include_url=False, include_input=False)
    first = min(mistakes, key=lambda mistake: mistake["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
    context: Mapping[str, Any] = first.get("ctx", {})
    match first["type"]:
        case "json_invalid":
            return "not JSON", "write one JSON object a line"
        case "missing":
            return f'no "{key}"', f'add "{key}"'
        case "extra_forbidden":
            return f'unknown key "{key}"', "remove it"
        case "string_too_short" | "too_short":
            return f'empty "{key}"', f'give "{key}" a value'
        case "string_too_long":
            return f'"{key}" is too long', f"keep it to {context['max_length']:,} characters"
        case "too_long":
            return f'too many "{key}"', f"keep at most {context['max_length']:,}"
        case "model_type" | "model_attributes_type":
            return (f'"{key}" is not a table' if key else "not a JSON object"), "give names and values"
        case "string_type":
            return f'"{key}" is not a string', "put it in quotes"
        case "tuple_type":
            return f'"{key}" is not a list', 'write it as ["...", "..."]'
        case "value_error":
            return f'"{key}": {context["error"]}', "correct the value"
        case _:
            where = ".".join(map(str, first["loc"]))
            message = first["msg"][:1].lower() + first["msg"][1:]
            return f'"{where}": {message}', "correct the value"
