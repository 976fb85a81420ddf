"""The prompts of the stages: for terms of a text, and for a ranking of its candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from irr.errors import LMError
from irr.lm.protocol import ChatRequest, StageInput
from irr.lm.protocol import count as count_usage
from irr.prompts.chat import Prompt, Shown
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


class TermPrompt:
    """Text → terms, in the words of the label space."""

    items = {"type": "string", "minLength": 1, "maxLength": _MAX_TERM_CHARACTERS}  # noqa: RUF012
    most = _MAX_TERMS

    def __init__(self, task: TaskPack, demos: int) -> None:
        self.prompt = Prompt(
            instructions=_told(task.infer.instructions, task.notes_of(task.infer)),
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
        request = self.prompt.request(fields, self.items, self.most, TERMS_TOKENS, shown)
        return replace(request, about=StageInput("infer", text, fields=fields, demos=shown))

    def read(self, answer: str) -> list[str]:
        """The terms in an answer, without duplicates.

        Raises:
            LMError: If it is not the JSON that was asked for.
        """
        return self.kept(self.prompt.read(answer))

    @staticmethod
    def kept(terms: Sequence[str]) -> list[str]:
        """The terms that can be looked up, without duplicates."""
        readable = (clean(term)[:_MAX_TERM_CHARACTERS].strip() for term in terms)
        return list(dict.fromkeys(term for term in readable if term))[:_MAX_TERMS]


class RankingPrompt:
    """Text and numbered candidates → the numbers of those that apply, best first.

    Args:
        task: Whose instructions and demos are shown.
        demos: How many demos.
        none_fits: Whether the answer may be empty, because no candidate applies.
    """

    def __init__(self, task: TaskPack, demos: int, none_fits: bool = False) -> None:
        self.prompt = Prompt(
            instructions=_told(task.rank.instructions, task.notes_of(task.rank)),
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

        An example shows the form of the answer; it need not be as long as a real question.
        """
        return [
            _ranking(demo, demos[(i + 1) % len(demos)].terms if len(demos) > 1 else ())
            for i, demo in enumerate(demos)
        ]

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
        """Positions among the candidates, best first: distinct, in range, as many as the model gave.

        Raises:
            LMError: If it is not the JSON that was asked for, or names no candidate where it has to.
        """
        numbers = self.prompt.read(answer)
        named = self.kept(numbers, candidates)
        if not named and (numbers or self.prompt.least):
            raise LMError("empty", "the answer names no candidate")
        return named

    @staticmethod
    def kept(numbers: Sequence[int], candidates: int) -> list[int]:
        """The positions of candidates by their numbers.

        Numbers of no candidate, and repeated ones, are dropped and counted; they come only from a server that
        ignores the schema.
        """
        named = [n - 1 for n in dict.fromkeys(numbers) if 1 <= n <= candidates]
        count_usage(Usage(dropped=len(numbers) - len(named)))
        return named


def numbered(candidates: Sequence[str]) -> str:
    """Candidates as prompts show them, one a line."""
    return "\n".join(f"{number} {' '.join(name.split())}" for number, name in enumerate(candidates, 1))


def _told(instructions: str, notes: str) -> str:
    return f"{instructions}\n{notes}".strip()


def _ranking(demo: Demo, others: Sequence[str]) -> Shown:
    strange = [term for term in others if term not in demo.terms]
    candidates = list(demo.candidates) or sorted({*demo.terms, *strange[:_OTHERS]})
    return {
        "text": demo.text,
        "candidates": numbered(candidates),
        "ranking": [candidates.index(term) + 1 for term in demo.terms],
    }
