"""A language model that answers from a file of recorded answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from irr.errors import InputError, LMError
from irr.io.streams import read_lines
from irr.io.validation import parse_json_row
from irr.lm.protocol import Capabilities, ChatRequest, count
from irr.text.strings import one_line
from irr.text.words import clean
from irr.types import Usage

KIND = "recorded/"


class RecordedAnswer(BaseModel):
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
    """Repeats the recorded answer for a text, whatever the prompt.

    Of the candidates, those chosen in the recording keep their order; one that was not shown is not chosen.

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

    def __init__(self, answers: Iterable[RecordedAnswer], name: str = KIND) -> None:
        self.name = name
        self.concurrency = 8
        self.shown = self.unseen = 0
        self._answers = {(str(answer.stage), one_line(clean(answer.text))): answer for answer in answers}
        rows = sorted(answer.model_dump_json() for answer in self._answers.values())
        self.revision = hashlib.sha256("\n".join(rows).encode()).hexdigest()

    @classmethod
    def read(cls, path: Path) -> Self:
        """The model of a JSONL file with a `RecordedAnswer` a row; an InputError names another row."""
        rows = [
            parse_json_row(RecordedAnswer, line, path, number, InputError)
            for number, line in read_lines(path, InputError)
            if line.strip()
        ]
        if not rows:
            raise InputError(path, "holds no answers", 'give rows with "stage", "text" and what was answered')
        return cls(rows, f"{KIND}{path}")

    async def chat(self, request: ChatRequest) -> str:
        """The recorded terms or ranking of the text; an LMError if there are none."""
        count(Usage(calls=1))
        about = request.about
        if about is None:
            raise LMError("unrecorded", "only terms and rankings are recorded")
        answer = self._answers.get((about.stage, one_line(about.text)))
        if answer is None:
            raise LMError("unrecorded", f"no answer of {about.stage} is recorded for this text")
        if about.stage == "infer":
            return json.dumps({"terms": answer.terms})
        names = [one_line(name) for name in about.candidates]
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
