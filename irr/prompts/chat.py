"""Prompts as messages, for terms of a text and for a ranking of candidates, and the parsing of answers."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from pydantic import TypeAdapter

from irr.errors import LMError
from irr.lm.protocol import ChatRequest, StageInput
from irr.lm.protocol import count as count_usage
from irr.prompts.pack import Demo, TaskPack
from irr.text.words import clean
from irr.types import Usage

# Enough for the longest answer that the schemas allow, at a token a character.
TERMS_TOKENS = 800
RANKING_TOKENS = 120
_MAX_TERMS = 10
_MAX_TERM_CHARACTERS = 60
# Candidates of a demo that do not apply.
_OTHERS = 3

Message = tuple[str, str]
# The values of an example's fields, by name.
Shown = Mapping[str, Any]


@dataclass(frozen=True)
class Prompt:
    """A prompt with input fields and one output list.

    The system message is the instructions and one line on the answer's form; a field is its description and
    its value. A schema says what more there would be to say.

    Attributes:
        inputs: The description of each input field.
        output: The name of the output field, whose items are of the type `item`, `str` or `int`.
        described: The description of the output field.
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
        """The request for these input fields.

        `items` is the JSON schema of an item of the answer, of which there are at most `most`; the demos take
        the place of the prompt's own.
        """
        head = self._head if demos is None else (self._head[0], *self._shown(demos))
        return ChatRequest(
            messages=(*head, ("user", self._user(values))),
            max_tokens=max_tokens,
            temperature=0.0,
            schema=list_schema(self.output, items, most, self.least),
            json=True,
        )

    def read(self, answer: str) -> list[Any]:
        """The list in an answer, read as DSPy's JSON adapter does: despite prose around it, or torn JSON.

        Raises:
            LMError: If there is none.
        """
        from json_repair import loads

        try:
            fields: Any = loads(answer)
            if not isinstance(fields, dict) and (found := _first_object(answer)):
                fields = loads(found)
            value = fields[self.output]
            value = _unquoted(value) if isinstance(value, str) else value
            return _list_of(self.item).validate_python(value)
        except (ValueError, RecursionError, LookupError, TypeError) as e:  # deep nesting, or no such list
            raise LMError("unparsable", "the answer is not the JSON that was asked for") from e

    @cached_property
    def _head(self) -> tuple[Message, ...]:
        system = system_text(self.instructions, {self.output: self.described})
        return ("system", system), *self._shown(self.demos)

    def _shown(self, demos: Sequence[Shown]) -> list[Message]:
        messages = []
        for demo in demos:
            messages.append(("user", self._user(demo)))
            messages.append(("assistant", assistant_text({self.output: demo[self.output]})))
        return messages

    def _user(self, values: Mapping[str, Any]) -> str:
        return user_text({described: values[name] for name, described in self.inputs.items()})


class TermPrompt:
    """Text → terms, in the words of the label space."""

    def __init__(self, task: TaskPack, demos: int) -> None:
        self.prompt = Prompt(
            instructions=f"{task.infer.instructions}\n{task.notes_of(task.infer)}".strip(),
            inputs={"text": task.text},
            output="terms",
            item=str,
            described=f"{task.labels}, most certain first",
            demos=tuple(self.shown(task.demos_of(task.infer))[: task.count_of(task.infer, demos)]),
        )

    @staticmethod
    def shown(demos: Sequence[Demo]) -> list[Shown]:
        """Demos as the prompt shows them."""
        return [{"text": demo.text, "terms": list(demo.terms)} for demo in demos]

    def request(self, text: str, demos: Sequence[Demo] | None = None) -> ChatRequest:
        """The request for a text."""
        shown = None if demos is None else self.shown(demos)
        fields = {"text": text}
        items = {"type": "string", "minLength": 1, "maxLength": _MAX_TERM_CHARACTERS}
        request = self.prompt.request(fields, items, _MAX_TERMS, TERMS_TOKENS, shown)
        return replace(request, about=StageInput("infer", text, fields=fields, demos=shown))

    def read(self, answer: str) -> list[str]:
        """The terms in an answer, without duplicates."""
        readable = (clean(term)[:_MAX_TERM_CHARACTERS].strip() for term in self.prompt.read(answer))
        return list(dict.fromkeys(term for term in readable if term))[:_MAX_TERMS]


class RankingPrompt:
    """Text and numbered candidates → the numbers of those that apply, best first; none if `none_fits`."""

    def __init__(self, task: TaskPack, demos: int, none_fits: bool = False) -> None:
        self.prompt = Prompt(
            instructions=f"{task.rank.instructions}\n{task.notes_of(task.rank)}".strip(),
            inputs={"text": task.text, "candidates": f"candidate {task.labels}"},
            output="ranking",
            item=int,
            described="candidate numbers, best first" + (", or none if no candidate applies" * none_fits),
            demos=tuple(self.shown(task.demos_of(task.rank))[: task.count_of(task.rank, demos)]),
            least=0 if none_fits else 1,
        )

    @staticmethod
    def shown(demos: Sequence[Demo]) -> list[Shown]:
        """Demos as the prompt shows them; one without candidates gets some of the next one's terms.

        A demo shows the form of the answer; it need not be as long as a real question.
        """
        all_shown: list[Shown] = []
        for demo, following in zip(demos, [*demos[1:], *demos[:1]], strict=True):
            strange = [term for term in following.terms if term not in demo.terms]
            candidates = list(demo.candidates) or sorted({*demo.terms, *strange[:_OTHERS]})
            ranking = [candidates.index(term) + 1 for term in demo.terms]
            all_shown.append({"text": demo.text, "candidates": numbered(candidates), "ranking": ranking})
        return all_shown

    @staticmethod
    def items(candidates: int) -> dict[str, Any]:
        """The JSON schema of a candidate's number."""
        return {"type": "integer", "minimum": 1, "maximum": candidates}

    def request(
        self,
        text: str,
        candidates: Sequence[str],
        count: int,
        demos: Sequence[Demo] | None = None,
        names: Sequence[str] | None = None,
    ) -> ChatRequest:
        """The request to choose `count` of a text's candidates; `names` are theirs if they show more."""
        values = {"text": text, "candidates": numbered(candidates)}
        shown = None if demos is None else self.shown(demos)
        most = min(count, len(candidates))
        request = self.prompt.request(values, self.items(len(candidates)), most, RANKING_TOKENS, shown)
        about = StageInput("rank", text, tuple(names or candidates), values, shown)
        return replace(request, about=about)

    def read(self, answer: str, candidates: int) -> list[int]:
        """Positions among the candidates, best first: distinct, in range, as many as the model gave."""
        numbers = self.prompt.read(answer)
        named = self.kept(numbers, candidates)
        if not named and (numbers or self.prompt.least):
            raise LMError("empty", "the answer names no candidate")
        return named

    @staticmethod
    def kept(numbers: Sequence[int], candidates: int) -> list[int]:
        """The positions of the numbered candidates; numbers of no candidate are dropped and counted."""
        named = [n - 1 for n in dict.fromkeys(numbers) if 1 <= n <= candidates]
        count_usage(Usage(dropped=len(numbers) - len(named)))
        return named


def numbered(candidates: Sequence[str]) -> str:
    """Candidates as prompts show them, one a line."""
    return "\n".join(f"{number} {' '.join(name.split())}" for number, name in enumerate(candidates, 1))


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


def _unquoted(value: str) -> Any:
    """The value in a string that was put in quotes: JSON, or a Python literal, in DSPy's order."""
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
