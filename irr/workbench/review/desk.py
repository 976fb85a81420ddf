"""The desk: gives people texts to judge, shows what the program proposes, and keeps what they say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from irr.errors import UsageError
from irr.io.texts import TextId
from irr.program.program import InferRetrieveRank
from irr.text.words import clean
from irr.types import Candidate, LabelId, Prediction, QueryKind
from irr.workbench.review.judgment import Judgment, Key, Note, Order, Proposal, Reviewer, Verdict, standing
from irr.workbench.review.outlook import SHOWN, Outlook
from irr.workbench.review.progress import Progress, progress
from irr.workbench.review.queue import Queue
from irr.workbench.review.store import JudgmentStore
from irr.workbench.review.texts import ReviewText


class Said(BaseModel):
    """What a person says of a text, as the page tells it; see `Judgment`."""

    model_config = ConfigDict(extra="forbid")

    key: Key
    reviewer: Reviewer
    text_id: TextId
    verdict: Literal[Verdict.LABELS, Verdict.NONE_FITS, Verdict.UNSURE]
    labels: tuple[LabelId, ...] = ()
    rejected: tuple[LabelId, ...] = ()
    note: Note = ""
    order: Order
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


# The largest whole number that JavaScript holds exactly; larger ids go to the page as text.
_EXACT = 2**53 - 1
# Texts that the program reads together while people review.
_AT_A_TIME = 4


@dataclass
class Desk:
    """A review of some texts with one program; many people at once.

    Attributes:
        program: Proposes the labels.
        texts: The texts to review.
        store: Keeps the judgments.
        seed: Of the random order.
    """

    program: InferRetrieveRank
    texts: Sequence[ReviewText]
    store: JudgmentStore
    seed: int = 0
    outlook: Outlook = field(init=False)
    _queue: Queue = field(init=False)
    _number_of: dict[str | int, int] = field(init=False)
    _shown: dict[str | int, tuple[str, tuple[Proposal, ...]]] = field(init=False, default_factory=dict)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.store.check()
        self._number_of = {text.id: number for number, text in enumerate(self.texts)}
        for number, text in enumerate(self.texts):
            self._number_of.setdefault(_for_page(text.id), number)
        self.use(self.program)

    def use(self, program: InferRetrieveRank) -> None:
        """Has another program propose; of a text that is on a screen what was shown is remembered."""
        self.program = program
        self.outlook = Outlook([text.text for text in self.texts])
        self._queue = Queue([text.id for text in self.texts], self.outlook, self.seed)

    def look(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Has the program read all texts, which the orders by unsureness and by label need.

        A few at a time, so that nobody who asks for a text meanwhile waits for many.
        """
        program, texts = self.program, [text.text for text in self.texts]
        groups = (texts[start : start + _AT_A_TIME] for start in range(0, len(texts), _AT_A_TIME))
        predictions = (prediction for group in groups for prediction in program.batch(group))
        self.outlook.look(predictions, lambda: stop() or self.program is not program)

    def next(self, order: Order, reviewer: str, label: str | None = None) -> ReviewText | None:
        """The next text for a person; None if none of that order is left.

        Raises:
            UsageError: If the order needs a label, and the label space has none of that id.
        """
        if label is not None and label not in self.program.space:
            raise UsageError(f'"{label}" is no label', "choose one of the label space")
        with self._lock:
            number = self._queue.next(order, reviewer, self._standing(), label)
        return None if number is None else self.texts[number]

    def text(self, text_id: str | int) -> ReviewText:
        """The text of an id.

        Raises:
            UsageError: If there is none.
        """
        number = self._number_of.get(text_id)
        if number is None:
            raise UsageError(f'no text "{text_id}" is under review', "reload the page")
        return self.texts[number]

    def was_shown(self, text_id: str | int) -> bool:
        """Whether somebody was shown this text since the service began.

        Raises:
            UsageError: If there is none of that id.
        """
        return self.text(text_id).id in self._shown

    def shown(
        self, text: ReviewText, prediction: Prediction, order: Order, before: Judgment | None = None
    ) -> dict[str, Any]:
        """All that the page shows of a text, labels by their ids.

        Args:
            text: The text.
            prediction: What the program says of it, with its trace.
            order: By what it was chosen.
            before: What the person said of it and took back.
        """
        space = self.program.space
        proposals = tuple(
            Proposal(id=one.id, name=one.name, score=one.score, probability=one.probability)
            for one in prediction.labels[:SHOWN]
        )
        self._shown[text.id] = (self.program.digest, proposals)
        candidates = prediction.trace.candidates if prediction.trace else ()
        words = {candidate.label.id: _words(candidate) for candidate in candidates}
        named = [*(f.label for f in text.findings), *(text.labels or ()), *(before.labels if before else ())]
        proposed = {one.id for one in proposals}
        others = [one for one in dict.fromkeys(named) if one in space and one not in proposed]
        return {
            "id": _for_page(text.id),
            "text": clean(text.text),
            "order": order,
            "error": prediction.error.message if prediction.error else None,
            "fallbacks": [one.message for one in prediction.fallbacks],
            "given": text.labels,
            "proposals": [one.model_dump() | {"words": words.get(one.id, [])} for one in proposals],
            "others": [{"id": one, "words": words.get(one, [])} for one in others],
            "findings": [one.model_dump() for one in text.findings],
            "judgment": before.model_dump(include={"labels", "note"}) if before else None,
        }

    def keep(self, said: Said) -> Judgment:
        """Keeps what a person says of a text; what has the same key is kept once.

        Raises:
            UsageError: If the text is not under review, or a label is none.
            OutputError: If it cannot be written.
        """
        text = self.text(said.text_id)
        named = (*said.labels, *said.rejected)
        unknown = next((label for label in named if label not in self.program.space), None)
        if unknown is not None:
            raise UsageError(f'"{unknown}" is no label', "choose labels of the label space")
        if (said.verdict is Verdict.LABELS) != bool(said.labels):
            raise UsageError("the verdict does not fit the labels", "name labels, or say that none fits")
        program, proposed = self._shown.get(text.id, (self.program.digest, ()))
        return self.store.append(
            Judgment(
                **said.model_dump(exclude={"text_id"}),
                text_id=text.id,
                at=datetime.now(UTC),
                text=text.text,
                seed=self.seed,
                program=program,
                proposed=proposed,
                given=text.labels,
            )
        )

    def undo(self, key: str, reviewer: str) -> Judgment:
        """Takes the last judgment of a person back; the same key once.

        Returns:
            What was taken back.

        Raises:
            UsageError: If there is none.
            OutputError: If it cannot be written.
        """
        with self._lock:
            made = {one.key: one for one in self.store.judgments()}
            if key in made:
                return made[made[key].undoes or key]
            mine = [one for one in self._standing() if one.reviewer == reviewer]
            if not mine:
                raise UsageError("there is nothing to take back", "judge a text first")
            last = mine[-1]
            back = {"key": key, "at": datetime.now(UTC), "verdict": Verdict.UNDONE, "undoes": last.key}
            self.store.append(last.model_copy(update=back | {"labels": (), "rejected": (), "note": ""}))
        return last

    def progress(self, reviewer: str) -> Progress:
        """How far the review is; judgments of texts that are not under review do not count."""
        known = int(self.outlook.known.sum())
        return progress(self._standing(), reviewer, len(self.texts), known)

    def _standing(self) -> list[Judgment]:
        return [one for one in standing(self.store.judgments()) if one.text_id in self._number_of]


def _words(candidate: Candidate) -> list[tuple[int, int]]:
    """Where the words stand that spoke for a label."""
    spans = (m for m in candidate.matches if m.kind is QueryKind.SPAN)
    return sorted({(m.start, m.end) for m in spans if m.start is not None and m.end is not None})


def _for_page(text_id: str | int) -> str | int:
    return str(text_id) if isinstance(text_id, int) and abs(text_id) > _EXACT else text_id
