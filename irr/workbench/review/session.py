"""A review session: chooses texts for people, shows the program's proposals, and keeps the judgments."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict

from irr import Candidate, InferRetrieveRank, Prediction, RankedLabel
from irr.errors import TextsError, UsageError
from irr.io.texts import TextRow, read_rows
from irr.statistics import Bools, Floats
from irr.text.words import clean
from irr.types import LabelId, QueryKind
from irr.workbench.review.judgments import (
    Judgment,
    JudgmentStore,
    Order,
    SubmittedJudgment,
    Verdict,
    random_position,
    valid_judgments,
)
from irr.workbench.review.summary import progress

# Labels of a text that are shown and count as proposed.
SHOWN = 10
# Seconds for which a text that is open on one person's screen is not given to another.
_LEASE = 900.0
# The largest whole number that JavaScript holds exactly; larger ids go to the page as text.
_LARGEST_INTEGER = 2**53 - 1
# Texts that are read ahead together, so that a reviewer waits for few.
_READ_TOGETHER = 4


class ReviewFinding(BaseModel):
    """A finding of an audit on a label of a text; other keys are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: str
    label: LabelId
    suspicion: float
    why: str = ""


class ReviewText(TextRow):
    """A text to review: a row of a file of texts, of gold, or of an audit's list."""

    labels: tuple[LabelId, ...] | None = None
    findings: Annotated[tuple[ReviewFinding, ...], BeforeValidator(lambda v: () if v is None else v)] = ()


def read_texts(path: Path) -> list[ReviewText]:
    """Reads the texts to review; a `TextsError` if there are none, or one cannot be used."""
    texts = [row for _, row in read_rows(path, ReviewText)]
    if not texts:
        raise TextsError(path, "holds no texts", "give some to review")
    return texts


def uncertainty(labels: Sequence[RankedLabel]) -> float:
    """How uncertain a program is about a text.

    With probabilities: the expected mistakes among its first labels, the sum of min(p, 1 - p), and what they
    lack of one right label, max(0, 1 - sum p). Without: how near the second label's score is to the first's.
    """
    first = [label.probability for label in labels[:SHOWN] if label.probability is not None]
    if first:
        return float(sum(min(p, 1 - p) for p in first) + max(0.0, 1 - sum(first)))
    if len(labels) < 2:
        return 1.0
    return 1 / (1 + labels[0].score - labels[1].score)


class ReviewQueue:
    """Chooses texts by number, by the order that people ask for, also while `read` runs."""

    def __init__(self, texts: Sequence[TextRow], seed: int) -> None:
        self._texts = texts
        positions = [random_position(seed, text.id) for text in texts]
        self._random = np.array(sorted(range(len(texts)), key=positions.__getitem__), int)
        self._number_of = {text.id: number for number, text in enumerate(texts)}
        # By text number: the person who has it open, and since when.
        self._leases: dict[int, tuple[str, float]] = {}
        self._uncertainty = np.full(len(texts), -1.0)
        self._label_weights: list[dict[str, float]] = [{} for _ in texts]
        self._similarity = np.full(len(texts), -1.0)
        self._similar_to: set[int] = set()

    @property
    def known(self) -> Bools:
        """Which texts the program has read, shape (texts,)."""
        return self._uncertainty >= 0

    def read(self, predictions: Iterable[Prediction], first: int = 0) -> None:
        """Takes the program's predictions for the texts from number `first` on."""
        for number, prediction in enumerate(predictions, first):
            self._label_weights[number] = {
                label.id: label.score if label.probability is None else label.probability
                for label in prediction.labels
            }
            self._uncertainty[number] = uncertainty(prediction.labels)

    def next(
        self, order: Order, reviewer: str, judgments: Iterable[Judgment], label: str | None = None
    ) -> int | None:
        """The number of the next text for a person, which nobody else has open; None if there is none left.

        Texts with judgments that count are given out again for second opinions only.
        """
        reviewers: dict[int, set[str]] = {}
        for judgment in judgments:
            number = self._number_of.get(judgment.text_id)
            if number is not None:
                reviewers.setdefault(number, set()).add(judgment.reviewer)
        now = time.monotonic()
        self._leases = {n: lease for n, lease in self._leases.items() if now - lease[1] < _LEASE}
        left = np.ones(len(self._texts), bool)
        if order is Order.SECOND:
            left[:] = False
            left[[number for number, names in reviewers.items() if reviewer not in names]] = True
        else:
            left[list(reviewers)] = False
            left[[number for number, (holder, _) in self._leases.items() if holder != reviewer]] = False
        chosen = self._first(order, left, reviewers.keys(), label)
        if chosen is not None:
            self._leases[chosen] = (reviewer, now)
        return chosen

    def _first(self, order: Order, left: Bools, judged: Iterable[int], label: str | None) -> int | None:
        known = left & self.known
        match order:
            case Order.LISTED:
                return _best(left, -np.arange(len(left), dtype=float))
            case Order.UNSURE:
                return _best(known, self._uncertainty)
            case Order.LABEL:
                if label is None:
                    raise UsageError("the order by label names no label", "name one")
                weight = np.array([weights.get(label, -np.inf) for weights in self._label_weights])
                return _best(known & np.isfinite(weight), weight)
            case Order.DIFFERENT if judged:
                return _best(left, -self._similarity_to(set(judged)))
        by_chance = self._random[left[self._random]]
        return int(by_chance[0]) if len(by_chance) else None

    def _similarity_to(self, judged: set[int]) -> Floats:
        """The TF-IDF cosine of each text and the nearest of those judged, shape (texts,)."""
        if not self._similar_to <= judged:
            self._similarity[:] = -1.0
            self._similar_to = set()
        if new := sorted(judged - self._similar_to):
            cosines = (self._word_vectors @ self._word_vectors[new].T).max(axis=1).toarray().ravel()
            self._similarity = np.maximum(self._similarity, cosines)
            self._similar_to = judged
        return self._similarity

    @cached_property
    def _word_vectors(self) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        vectorizer = HashingVectorizer(n_features=2**18, alternate_sign=False, norm=None)
        counts = vectorizer.transform([text.text for text in self._texts])
        return TfidfTransformer().fit_transform(counts).tocsr()


def _best(allowed: Bools, value: Floats) -> int | None:
    """The number of the highest value that is allowed, the first of equal ones."""
    return int(np.where(allowed, value, -np.inf).argmax()) if allowed.any() else None


class ReviewSession:
    """A review of some texts with one program by many people at once; `seed` decides the random order."""

    def __init__(
        self, program: InferRetrieveRank, texts: Sequence[ReviewText], store: JudgmentStore, seed: int = 0
    ) -> None:
        store.check()
        self._texts = texts
        self._store = store
        self._seed = seed
        self._text_of: dict[str | int, ReviewText] = {text.id: text for text in texts}
        for text in texts:
            self._text_of.setdefault(_page_id(text.id), text)
        # By text: the digest of the program that proposed last, and its proposals.
        self.proposals: dict[str | int, tuple[str, tuple[RankedLabel, ...]]] = {}
        self._lock = threading.Lock()
        self.use(program)

    def use(self, program: InferRetrieveRank) -> None:
        """Changes to another program; the proposals on people's screens are remembered."""
        self.program = program
        self._queue = ReviewQueue(self._texts, self._seed)

    def read_ahead(self, stop: Callable[[], bool]) -> None:
        """Has the program read all texts until `stop`, which the orders by uncertainty and by label need."""
        program, queue = self.program, self._queue
        for start in range(0, len(self._texts), _READ_TOGETHER):
            if stop() or self.program is not program:
                return
            group = self._texts[start : start + _READ_TOGETHER]
            queue.read(program.batch([text.text for text in group]), start)

    def next(self, order: Order, reviewer: str, label: str | None = None) -> ReviewText | None:
        """The next text for a person; None if none is left; a `UsageError` without a label that it needs."""
        self._check_labels([] if label is None else [label])
        with self._lock:
            number = self._queue.next(order, reviewer, self._judgments(), label)
        return None if number is None else self._texts[number]

    def text(self, text_id: str | int) -> ReviewText:
        """The text of an id; a `UsageError` if there is none."""
        if text_id not in self._text_of:
            raise UsageError(f'no text "{text_id}" is under review', "reload the page")
        return self._text_of[text_id]

    def show(
        self, text: ReviewText, prediction: Prediction, order: Order, before: Judgment | None = None
    ) -> dict[str, Any]:
        """All that the page shows of a text, given its prediction and the judgment that was taken back."""
        space = self.program.space
        proposals = prediction.labels[:SHOWN]
        self.proposals[text.id] = (self.program.digest, proposals)
        candidates = prediction.trace.candidates if prediction.trace else ()
        words = {candidate.label.id: _spans(candidate) for candidate in candidates}
        named = [finding.label for finding in text.findings]
        named += [*(text.labels or ()), *(before.labels if before else ())]
        proposed = {label.id for label in proposals}
        others = [label for label in dict.fromkeys(named) if label in space and label not in proposed]
        return {
            "id": _page_id(text.id),
            "text": clean(text.text),
            "order": order,
            "error": prediction.error.message if prediction.error else None,
            "fallbacks": [fallback.message for fallback in prediction.fallbacks],
            "given": text.labels,
            "proposals": [label.model_dump() | {"words": words.get(label.id, [])} for label in proposals],
            "others": [{"id": label, "words": words.get(label, [])} for label in others],
            "findings": [finding.model_dump() for finding in text.findings],
            "judgment": before.model_dump(include={"labels", "note"}) if before else None,
        }

    def record(self, submitted: SubmittedJudgment) -> Judgment:
        """Keeps a judgment, the same key once; a `UsageError` if it does not fit the texts or labels."""
        text = self.text(submitted.text_id)
        self._check_labels((*submitted.labels, *submitted.rejected))
        wrong = (submitted.verdict is Verdict.LABELS) != bool(submitted.labels)
        if wrong or submitted.verdict is Verdict.UNDONE:
            raise UsageError("the verdict does not fit the labels", "name labels, or say that none fits")
        program, proposed = self.proposals.get(text.id, (self.program.digest, ()))
        judgment = Judgment(
            **submitted.model_dump(exclude={"text_id"}),
            text_id=text.id,
            at=datetime.now(UTC),
            text=text.text,
            seed=self._seed,
            program=program,
            proposed=proposed,
            given=text.labels,
        )
        return self._store.append(judgment)

    def undo(self, key: str, reviewer: str) -> Judgment:
        """Takes the last judgment of a person back, the same key once, and returns it."""
        with self._lock:
            by_key = {judgment.key: judgment for judgment in self._store.judgments()}
            if key in by_key:
                return by_key[by_key[key].undoes or key]
            mine = [judgment for judgment in self._judgments() if judgment.reviewer == reviewer]
            if not mine:
                raise UsageError("there is nothing to take back", "judge a text first")
            last = mine[-1]
            changes = {"key": key, "at": datetime.now(UTC), "verdict": Verdict.UNDONE, "undoes": last.key}
            changes |= {"labels": (), "rejected": (), "note": ""}
            self._store.append(last.model_copy(update=changes))
        return last

    def progress(self, reviewer: str) -> dict[str, Any]:
        """The progress of the review; judgments of other texts do not count."""
        return progress(self._judgments(), reviewer, len(self._texts), int(self._queue.known.sum()))

    def _check_labels(self, labels: Sequence[str]) -> None:
        for label in labels:
            if label not in self.program.space:
                raise UsageError(f'"{label}" is not in the label space', "choose one of its labels")

    def _judgments(self) -> list[Judgment]:
        """The judgments that count of the texts under review."""
        valid = valid_judgments(self._store.judgments())
        return [judgment for judgment in valid if judgment.text_id in self._text_of]


def _spans(candidate: Candidate) -> list[tuple[int, int]]:
    """Start and end of the words that speak for a label."""
    matches = (match for match in candidate.matches if match.kind is QueryKind.SPAN)
    return sorted({(m.start, m.end) for m in matches if m.start is not None and m.end is not None})


def _page_id(text_id: str | int) -> str | int:
    return str(text_id) if isinstance(text_id, int) and abs(text_id) > _LARGEST_INTEGER else text_id
