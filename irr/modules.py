"""Task packs as DSPy modules: one proposes terms for a text, one orders its numbered candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from irr.dspy_glue import prepare_dspy, schema_config
from irr.lm import count as count_usage
from irr.prompts import Demo, TaskPack
from irr.types import Usage
from irr.words import clean

if TYPE_CHECKING:
    import dspy
else:
    dspy = prepare_dspy()

# Enough for the longest answer that the schemas below allow, a token a character; a longer one is no answer.
_TERMS_TOKENS = 800
_RANKING_TOKENS = 120
_MAX_TERMS = 10
# Candidates of a demo that do not apply.
_OTHERS = 3
_MAX_TERM_CHARACTERS = 60


class ProposeTerms(dspy.Module):  # type: ignore[misc]
    """Text → terms, phrased as the label space would phrase them."""

    def __init__(self, task: TaskPack, demos: int) -> None:
        super().__init__()
        fields = {
            "text": (str, dspy.InputField(desc=task.text)),
            "terms": (list[str], dspy.OutputField(desc=f"{task.labels}, most certain first")),
        }
        self.predict = dspy.Predict(dspy.Signature(fields, _instructions(task, task.infer.instructions)))
        self.predict.demos = [
            dspy.Example(text=demo.text, terms=list(demo.terms)).with_inputs("text")
            for demo in task.demos[:demos]
        ]

    async def aforward(self, text: str) -> list[str]:
        """Returns the terms, without duplicates."""
        items = {"type": "string", "minLength": 1, "maxLength": _MAX_TERM_CHARACTERS}
        config = _array("terms", items, _MAX_TERMS) | {"max_tokens": _TERMS_TOKENS}
        answer = await self.predict.acall(text=text, config=config)
        terms = (clean(term)[:_MAX_TERM_CHARACTERS].strip() for term in answer.terms)
        return list(dict.fromkeys(term for term in terms if term))[:_MAX_TERMS]


class OrderCandidates(dspy.Module):  # type: ignore[misc]
    """Text and numbered candidates → the numbers of those that apply, best first."""

    def __init__(self, task: TaskPack, demos: int) -> None:
        super().__init__()
        fields = {
            "text": (str, dspy.InputField(desc=task.text)),
            "candidates": (str, dspy.InputField(desc=f"candidate {task.labels}")),
            "ranking": (list[int], dspy.OutputField(desc="candidate numbers, best first")),
        }
        self.predict = dspy.Predict(dspy.Signature(fields, _instructions(task, task.rank.instructions)))
        self.predict.demos = _ranking_demos(task.demos)[:demos]

    async def aforward(self, text: str, candidates: Sequence[str], count: int) -> list[int]:
        """Returns positions in `candidates`, best first: distinct, in range, as many as the model gave.

        What is no candidate's number, or comes twice, cannot be had from a server that keeps to the schema;
        it is dropped, and counted, where one does not.
        """
        items = {"type": "integer", "minimum": 1, "maximum": len(candidates)}
        config = _array("ranking", items, min(count, len(candidates))) | {"max_tokens": _RANKING_TOKENS}
        answer = await self.predict.acall(text=text, candidates=_numbered(candidates), config=config)
        named = [n - 1 for n in dict.fromkeys(answer.ranking) if 1 <= n <= len(candidates)]
        count_usage(Usage(dropped=len(answer.ranking) - len(named)))
        return named


def _instructions(task: TaskPack, instructions: str) -> str:
    return f"{instructions}\n{task.notes}".strip()


def _array(name: str, items: dict[str, Any], most: int) -> dict[str, Any]:
    array = {"type": "array", "items": items, "minItems": 1, "maxItems": most}
    return schema_config(
        {"type": "object", "properties": {name: array}, "required": [name], "additionalProperties": False}
    )


def _numbered(candidates: Sequence[str]) -> str:
    return "\n".join(f"{number} {' '.join(name.split())}" for number, name in enumerate(candidates, 1))


def _ranking_demos(demos: Sequence[Demo]) -> list[dspy.Example]:
    """Short rankings made from the pack's examples: each one's terms among those of the next.

    A demo shows the form of the answer; it need not be as long as a real question.
    """
    examples = []
    for i, demo in enumerate(demos):
        others = [term for term in demos[(i + 1) % len(demos)].terms if term not in demo.terms]
        candidates = sorted({*demo.terms, *others[:_OTHERS]})
        examples.append(
            dspy.Example(
                text=demo.text,
                candidates=_numbered(candidates),
                ranking=[candidates.index(term) + 1 for term in demo.terms],
            ).with_inputs("text", "candidates")
        )
    return examples
