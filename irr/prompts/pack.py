"""Task packs: the words and the prompts of a task, read from TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from string import ascii_letters, digits
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from irr.errors import InputError
from irr.io.streams import read_lines
from irr.io.validation import explain
from irr.text.strings import printable
from irr.text.words import clean

FILE = "task.toml"
MAX_NAME = 300
MAX_TERMS = 20
MAX_PASSAGE = 4_000
_PACKAGE = Path(__file__).parents[1]
# The folders of tasks in the wheel and in a source checkout; the first that exists counts.
_ROOTS = (_PACKAGE / "tasks", _PACKAGE.parent / "prompts")
# Optimizers write long prompts and demos.
_LARGEST = 1_000_000
# A key of more parts: tomllib takes minutes for thousands of them.
_MAX_KEY_PARTS = 50
_KEY_CHARACTERS = set(ascii_letters + digits + "-_.'\"[] \t")
_TOML_PLACE = re.compile(r" \(at line (\d+), column \d+\)$")


def _distinct(terms: tuple[str, ...]) -> tuple[str, ...]:
    folded = [term.casefold() for term in terms]
    for place, term in enumerate(terms):
        if folded[place] in folded[:place]:
            raise ValueError(f'"{term}" occurs twice')
    return terms


Noun = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\n]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME, pattern=r"^[^\n]*$")]
# Optimizers write long instructions.
Sentences = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
Notes = Annotated[str, StringConstraints(max_length=2_000)]
Passage = Annotated[str, StringConstraints(min_length=1, max_length=MAX_PASSAGE)]
Terms = Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_TERMS), AfterValidator(_distinct)]
Names = Annotated[tuple[Name, ...], Field(max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Demo(_Part):
    """A demo: a text and its terms, in the words of the label space.

    Attributes:
        text: The text.
        terms: Its terms, best first.
        candidates: For ranking, what the terms are chosen from, in the order shown; if empty, the terms are
            put among those of the next example.
    """

    text: Passage
    terms: Terms
    candidates: Names = ()

    @model_validator(mode="after")
    def _terms_are_candidates(self) -> Demo:
        strange = [term for term in self.terms if self.candidates and term not in self.candidates]
        if strange:
            raise ValueError(f'"{strange[0]}" is not among its candidates')
        return self


Demos = Annotated[tuple[Demo, ...], Field(max_length=32)]


class InferPrompt(_Part):
    """The prompt of infer, which asks for terms; its notes and demos take the place of the task's."""

    instructions: Sentences
    notes: Notes | None = None
    demos: Demos | None = None


class RankPrompt(_Part):
    """The prompts of rank: instructions to order candidates, and a yes-or-no question about a single one."""

    instructions: Sentences
    question: Annotated[str, StringConstraints(min_length=1, max_length=300)]
    notes: Notes | None = None
    demos: Demos | None = None


# Chooses the demos of each text.
ChooseDemos = Callable[[Sequence[str]], list[tuple[Demo, ...]]]


class TaskPack(_Part):
    """The words and prompts of a task.

    Attributes:
        title: The name of the task.
        text: The word for a text; `label` and `labels` are those for labels.
        notes: Conventions of the label space for both stages; may be empty.
        demos: Demos for both stages.
    """

    title: Noun
    text: Noun
    label: Noun
    labels: Noun
    notes: Notes = ""
    infer: InferPrompt
    rank: RankPrompt
    demos: Annotated[tuple[Demo, ...], Field(min_length=1, max_length=32)]

    def demos_of(self, stage: InferPrompt | RankPrompt) -> tuple[Demo, ...]:
        """The demos of a stage."""
        return self.demos if stage.demos is None else stage.demos

    def count_of(self, stage: InferPrompt | RankPrompt, most: int) -> int:
        """The number of demos to show: all of its own, or a limited number of the task's."""
        return most if stage.demos is None else len(stage.demos)

    def notes_of(self, stage: InferPrompt | RankPrompt) -> str:
        """The notes of a stage."""
        return self.notes if stage.notes is None else stage.notes


def demo_text(text: str) -> str:
    """The beginning of a text that a demo shows."""
    return clean(text)[:MAX_PASSAGE].strip() or "-"


def task_names() -> list[str]:
    """The names of the tasks that come with the package, sorted."""
    return sorted(_packed())


def load_task(name_or_folder: str) -> TaskPack:
    """Reads the task of that name, or the folder at that path.

    Raises:
        InputError: If there is no such task, or its file is not a task pack; names the file and the key.
    """
    packed = _packed()
    if name_or_folder in packed:
        return _read(packed[name_or_folder])
    with suppress(OSError):  # a name that no file can have
        if name_or_folder and Path(name_or_folder).is_dir():
            return _read(Path(name_or_folder) / FILE)
    hint = f"name one of {', '.join(sorted(packed))}, or a folder that holds {FILE}"
    raise InputError(f'task "{name_or_folder}"', "no such task", hint)


def _packed() -> dict[str, Path]:
    for root in _ROOTS:
        if files := {file.parent.name: file for file in root.glob(f"*/{FILE}")}:
            return files
    return {}


def _read(path: Path) -> TaskPack:
    text = "".join(line for _, line in read_lines(path, InputError))
    if len(text) > _LARGEST:
        raise InputError(path, f"longer than {_LARGEST:,} characters", "shorten it, or name a task pack")
    keys = (line.partition("=")[0] for line in text.splitlines())
    if any(key.count(".") >= _MAX_KEY_PARTS and not set(key) - _KEY_CHARACTERS for key in keys):
        raise InputError(path, "a key of many parts", "write it as tables")
    try:
        return TaskPack.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as e:
        place = _TOML_PLACE.search(str(e))
        problem = _TOML_PLACE.sub("", str(e))
        row = int(place[1]) if place else None
        hint = "correct the line" if place else 'close every """, quote and bracket'
        raise InputError(path, f"not TOML ({printable(problem[:1].lower() + problem[1:])})", hint, row) from e
    except RecursionError:
        raise InputError(path, "nested too deeply", "a task pack has tables of two levels") from None
    except ValidationError as e:
        problem, hint = explain(e, TaskPack)
        raise InputError(path, printable(problem), hint) from e
