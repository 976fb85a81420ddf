"""Constrained decoding of an in-process model: prose, or a JSON list that is valid by construction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from irr.errors import LMError
from irr.lm.local.transformer import Transformer, Writing


class Answer(Writing, Protocol):
    """The answer to one request while it is decoded."""

    opening: str

    @property
    def text(self) -> str:
        """The answer so far."""
        ...

    @property
    def usable_when_cut(self) -> bool:
        """Whether an answer that was cut off can be used."""
        ...


def writing_for(schema: Mapping[str, Any] | None, stop: tuple[str, ...], transformer: Transformer) -> Answer:
    """The decoding that a request asks for.

    Raises:
        LMError: If the schema is not an object with one list of strings, or of bounded integers.
    """
    if schema is None:
        return _Prose(transformer, stop)
    fields = schema.get("properties", {})
    if len(fields) == 1:
        ((name, field),) = fields.items()
        field = schema.get("$defs", {}).get(field.get("$ref", "").rpartition("/")[2], field)
        items = field.get("items", {})
        most = field.get("maxItems")
        if items.get("type") == "string":
            return _Strings(transformer, name, most, items.get("maxLength"))
        if items.get("type") == "integer" and 0 <= items.get("minimum", -1) <= items.get("maximum", -1):
            numbers = range(items["minimum"], items["maximum"] + 1)
            return _Integers(transformer, name, numbers, field.get("minItems", 0), most)
    raise LMError(
        "bad_request",
        "an in-process model writes JSON of one list only: of strings, or of integers from 0 up, with bounds",
        "serve the model for other answers",
    )


class _Prose:
    """Any text, up to the first stop string."""

    def __init__(self, transformer: Transformer, stop: tuple[str, ...]) -> None:
        self._tokenizer = transformer.tokenizer
        self._stop = stop
        self._tokens: list[int] = []
        self.opening = ""
        self.text = ""
        self.usable_when_cut = False

    def allowed(self) -> list[int] | None:
        return None

    def write(self, token: int) -> list[int]:
        self._tokens.append(token)
        self.text = self._tokenizer.decode(self._tokens)
        ends = [end for stop in self._stop if (end := self.text.find(stop)) >= 0]
        if ends:
            self.text = self.text[: min(ends)]
        return [] if ends else [token]


class _List:
    """A list of items under a name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._items: list[Any] = []

    @property
    def text(self) -> str:
        return json.dumps({self._name: self._items}, ensure_ascii=False)

    @property
    def usable_when_cut(self) -> bool:
        return bool(self._items)


class _Strings(_List):
    """A list of distinct strings; an unfinished string is left out."""

    def __init__(self, transformer: Transformer, name: str, most: int | None, longest: int | None) -> None:
        self.opening = json.dumps({name: [""]}, ensure_ascii=False)[:-3]
        super().__init__(name)
        self._most = most
        self._longest = longest
        self._tokenizer = transformer.tokenizer
        self._tokens: list[int] = []

    def allowed(self) -> list[int] | None:
        return None

    def write(self, token: int) -> list[int]:
        self._tokens.append(token)
        return [] if self._read('"' + self._tokenizer.decode(self._tokens)) else [token]

    def _read(self, text: str) -> bool:
        """Reads the complete items; returns whether the list is complete."""
        self._items = []
        while True:
            try:
                # Not strict: a string may hold a line break.
                item, end = json.JSONDecoder(strict=False).raw_decode(text)
            except json.JSONDecodeError:
                # Twice, because escapes make the JSON longer than the item.
                return self._longest is not None and len(text) > 2 * self._longest
            item = " ".join(item.encode("utf-8", "ignore").decode().split())
            if item in self._items:
                return True  # a greedy model that repeats itself goes on doing so
            if item and (self._longest is None or len(item) <= self._longest):
                self._items.append(item)
            rest = text[end:].lstrip()
            text = rest[1:].lstrip()
            if len(self._items) == self._most or (rest and rest[0] != ",") or (text and text[0] != '"'):
                return True
            if not text:
                return False


class _Integers(_List):
    """A list of distinct integers of a range; each digit must lead to one of those that are left."""

    def __init__(
        self, transformer: Transformer, name: str, numbers: range, fewest: int, most: int | None
    ) -> None:
        self.opening = json.dumps({name: []}, ensure_ascii=False)[:-2]
        super().__init__(name)
        self._left = {str(number) for number in numbers}
        self._most = len(numbers) if most is None else min(most, len(numbers))
        self._fewest = min(fewest, self._most)
        tokens = transformer.tokens
        # The last token, because some tokenizers begin with a token for the start of a word.
        self._digits = {tokens(digit)[-1]: digit for digit in "0123456789"}
        self._comma = tokens(",")[-1]
        self._space = tokens(" ")[-1]
        self._closing = [ids[0] for text in ("]", "]}") if len(ids := tokens(text)) == 1] or tokens("]")[-1:]
        self._digits_so_far = ""

    def allowed(self) -> list[int] | None:
        begun = self._digits_so_far
        following = {
            number[len(begun)] for number in self._left if number.startswith(begun) and number != begun
        }
        allowed = [token for token, digit in self._digits.items() if digit in following]
        if begun in self._left:
            written = len(self._items) + 1
            allowed += [self._comma] if written < self._most else []
            allowed += self._closing if written >= self._fewest else []
        elif not begun and not self._items and not self._fewest:
            allowed += self._closing
        return allowed

    def write(self, token: int) -> list[int]:
        if token in self._digits:
            self._digits_so_far += self._digits[token]
            return [token]
        if self._digits_so_far:
            self._left.remove(self._digits_so_far)
            self._items.append(int(self._digits_so_far))
            self._digits_so_far = ""
        return [token, self._space] if token == self._comma else []
