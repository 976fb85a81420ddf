"""Prompts as messages, whose common part is rendered once, and the parsing of answers."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from pydantic import TypeAdapter

from irr.errors import LMError
from irr.lm.protocol import ChatRequest

Message = tuple[str, str]
# The values of an example's fields, by name.
Shown = Mapping[str, Any]


@dataclass(frozen=True)
class Prompt:
    """A prompt with input fields and one output list.

    The system message is the instructions and one line on the answer's form; a field is its description and
    its value. A schema says what more there would be to say.

    Attributes:
        instructions: The instructions.
        inputs: The description of each input field.
        output: The name of the output field.
        item: The type of its items, `str` or `int`.
        described: The description of the output field.
        demos: The demos, in order.
        least: The fewest items of an answer.
    """

    instructions: str
    inputs: Mapping[str, str]
    output: str
    item: type
    described: str
    demos: tuple[Shown, ...] = ()
    least: int = 1

    def request(
        self,
        values: Mapping[str, str],
        items: Mapping[str, Any],
        most: int,
        max_tokens: int,
        demos: Sequence[Shown] | None = None,
    ) -> ChatRequest:
        """The request for these values.

        Args:
            values: The input fields.
            items: The JSON schema of an item of the answer.
            most: The most items of the answer.
            max_tokens: The most tokens of the answer.
            demos: Demos in place of the prompt's own.
        """
        head = self._head if demos is None else (self._system, *self._shown(demos))
        return ChatRequest(
            messages=(*head, ("user", self._user(values))),
            max_tokens=max_tokens,
            temperature=0.0,
            schema=self.schema(items, most),
            json=True,
        )

    def schema(self, items: Mapping[str, Any], most: int) -> dict[str, Any]:
        """The JSON schema of an answer of at most so many items."""
        return list_schema(self.output, items, most, self.least)

    def read(self, answer: str) -> list[Any]:
        """The list in an answer, read as DSPy's JSON adapter does: despite prose around it, or torn JSON.

        Raises:
            LMError: If there is none.
        """
        from json_repair import loads

        try:
            fields = loads(answer)
            if not isinstance(fields, dict) and (found := _first_object(answer)):
                fields = loads(found)
            if isinstance(fields, dict) and self.output in fields:
                return _as_list(fields[self.output], self.item)
        except (ValueError, RecursionError) as e:  # deep nesting, or no such list
            raise _unparsable() from e
        raise _unparsable()

    @cached_property
    def _system(self) -> Message:
        return "system", system_text(self.instructions, {self.output: self.described})

    @cached_property
    def _head(self) -> tuple[Message, ...]:
        return self._system, *self._shown(self.demos)

    def _shown(self, demos: Sequence[Shown]) -> list[Message]:
        messages = []
        for demo in demos:
            messages.append(("user", self._user(demo)))
            messages.append(("assistant", assistant_text({self.output: demo[self.output]})))
        return messages

    def _user(self, values: Mapping[str, Any]) -> str:
        return user_text({described: values[name] for name, described in self.inputs.items()})


def system_text(instructions: str, outputs: Mapping[str, str]) -> str:
    """The system message: the instructions, and one line on the form of the answer."""
    form = ", ".join(f'"{name}": [{described}]' for name, described in outputs.items())
    return f"{instructions}\nAnswer in JSON: {{{form}}}"


def user_text(fields: Mapping[str, str]) -> str:
    """A user message: each field's description and value, a value of several lines below its description."""
    return "\n".join(
        f"{described[:1].upper()}{described[1:]}:{chr(10) if chr(10) in value else ' '}{value}"
        for described, value in fields.items()
    )


def assistant_text(outputs: Mapping[str, Any]) -> str:
    """The answer of a demo."""
    return json.dumps(dict(outputs), ensure_ascii=False)


def list_schema(name: str, items: Mapping[str, Any], most: int, least: int = 1) -> dict[str, Any]:
    """The JSON schema of an object with one bounded list."""
    array = {"type": "array", "items": dict(items), "minItems": least, "maxItems": most}
    return {"type": "object", "properties": {name: array}, "required": [name], "additionalProperties": False}


def _as_list(value: Any, item: type) -> list[Any]:
    if isinstance(value, str):  # a list that was put in quotes
        value = _unquoted(value)
    return _list_of(item).validate_python(value)


def _unquoted(value: str) -> Any:
    """The JSON in a string, or the Python literal, in DSPy's order."""
    from json_repair import loads

    if (found := loads(value)) != "":
        return found
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError):
        return value


@cache
def _list_of(item: type) -> TypeAdapter[list[Any]]:
    return TypeAdapter(list[item])  # type: ignore[valid-type]


def _first_object(text: str) -> str | None:
    """The first part of a text in balanced braces."""
    opened: list[int] = []
    start = end = -1
    for place, character in enumerate(text):
        if character == "{":
            opened.append(place)
        elif character == "}" and opened:
            begin = opened.pop()
            if start < 0 or begin < start:
                start, end = begin, place + 1
    return text[start:end] if end > 0 else None


def _unparsable() -> LMError:
    return LMError("unparsable", "the answer is not the JSON that was asked for")
