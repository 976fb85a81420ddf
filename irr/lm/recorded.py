"""A language model that answers from a file of recorded answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from irr.errors import InputError, LMError
from irr.io.streams import read_lines
from irr.io.validation import parse_json_row
from irr.lm.base import Capabilities, ChatRequest
from irr.lm.openai.limits import Limits
from irr.lm.usage import count
from irr.text.lines import one_line
from irr.text.words import clean
from irr.types import Usage

KIND = "recorded/"


class Answer(BaseModel):
    """A recorded answer for a text.

    Attributes:
        stage: The stage that asked.
        text: The text.
        terms: For infer: the proposed terms.
        candidates: For rank: the names that were shown, in order.
        ranking: For rank: the numbers of the chosen candidates, from 1, best first.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    stage: Literal["infer", "rank"]
    text: str
    terms: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    ranking: tuple[int, ...] = ()

    @property
    def named(self) -> list[str]:
        """The names of the chosen candidates, best first."""
        return [self.candidates[n - 1] for n in self.ranking if 1 <= n <= len(self.candidates)]


class RecordedModel:
    """Repeats the recorded answer for a text; the rest of the prompt is ignored.

    A ranking is repeated by the names of the candidates: those chosen in the recording keep their order, and
    a candidate that was not shown then is not chosen.

    Attributes:
        name: The name that opens it.
        revision: The hash of its answers.
        shown: Candidates that it was asked to order, counted.
        unseen: Those of them that were not shown in the recording.

    Args:
        answers: One for each stage and text; of several, the last counts.
        name: Its name.
    """

    capabilities = Capabilities(scores=False, writes_instructions=False, local=True)

    def __init__(self, answers: Iterable[Answer], name: str = KIND) -> None:
        self.name = name
        self.concurrency = 8
        self.shown = self.unseen = 0
        self._answers: dict[tuple[str, str], Answer] = {
            (answer.stage, one_line(clean(answer.text))): answer for answer in answers
        }
        rows = sorted(answer.model_dump_json() for answer in self._answers.values())
        self.revision = hashlib.sha256("\n".join(rows).encode()).hexdigest()

    @classmethod
    def open(cls, name: str, _api_base: str | None, _limits: Limits | None) -> RecordedModel:
        """The model of a JSONL file with an `Answer` a row.

        Raises:
            InputError: With file and row, for a row that is not an `Answer`.
        """
        rows = [
            parse_json_row(Answer, line, Path(name), number, InputError)
            for number, line in read_lines(Path(name), InputError)
            if line.strip()
        ]
        if not rows:
            raise InputError(name, "holds no answers", 'give rows with "stage", "text" and what was answered')
        return cls(rows, KIND + name)

    async def chat(self, request: ChatRequest) -> str:
        """The recorded terms or ranking of the text in the last message.

        Raises:
            LMError: `unrecorded` if there are none.
        """
        asked = (request.schema or {}).get("properties", {})
        message = request.messages[-1][1]
        count(Usage(calls=1))
        if "terms" in asked:
            return json.dumps({"terms": self._known("infer", _value(message)).terms})
        if "ranking" not in asked:
            raise LMError("unrecorded", "only terms and rankings are recorded")
        text, lines = _question(message, int(asked["ranking"]["items"]["maximum"]))
        known = set(map(one_line, self._known("rank", text).candidates))
        names = [_name_in(line, known) for line in lines]
        answer = self._known("rank", text)
        number_of = {name: number for number, name in reversed([*enumerate(names, 1)])}
        ranking = [number_of[name] for name in map(one_line, answer.named) if name in number_of]
        count(Usage(dropped=len(answer.named) - len(ranking)))
        self.shown += len(names)
        self.unseen += len(set(names) - set(map(one_line, answer.candidates)))
        return json.dumps({"ranking": ranking})

    async def probabilities(
        self, prefix: str, context: str, items: Sequence[str], yes: str, no: str
    ) -> list[float]:
        """Raises an LMError: probabilities are not recorded."""
        raise LMError("bad_request", "no probabilities are recorded")

    def _known(self, stage: str, text: str) -> Answer:
        answer = self._answers.get((stage, one_line(text)))
        if answer is None:
            raise LMError("unrecorded", f"no answer of {stage} is recorded for this text")
        return answer


def _name_in(line: str, known: Collection[str]) -> str:
    """The name of the candidate in a line that may show its description, too."""
    if line in known:
        return line
    return max((name for name in known if line.startswith(name + " ")), key=len, default=line)


def _value(field: str) -> str:
    """The value of a field, after its description."""
    return field.partition(":")[2]


def _question(message: str, candidates: int) -> tuple[str, list[str]]:
    """The text of a ranking prompt, and the numbered names in its last lines."""
    lines = message.split("\n")
    if candidates == 1:
        *text, last = lines
        return _value("\n".join(text)), [last.partition(": 1 ")[2]]
    names = [line.partition(" ")[2] for line in lines[-candidates:]]
    return _value("\n".join(lines[: -candidates - 1])), names
