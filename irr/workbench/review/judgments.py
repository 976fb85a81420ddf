"""Judgments of reviewers, and their files: one for each person, one synchronized line for each judgment."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from irr import RankedLabel
from irr.errors import InputError, OutputError
from irr.io.outputs import append_line, whole_lines
from irr.io.texts import TextId
from irr.io.validation import parse_json_row
from irr.types import LabelId

# The name of a file holds 255 bytes on most systems.
_LONGEST_NAME = 200
_ENDING = ".judgments.jsonl"


class Verdict(StrEnum):
    """The verdict of a reviewer on a text; `undone` takes an earlier judgment back."""

    LABELS = "labels"
    NONE_FITS = "none_fits"
    UNSURE = "unsure"
    UNDONE = "undone"


class Order(StrEnum):
    """The order by which a text was chosen for review."""

    LISTED = "listed"
    UNSURE = "unsure"
    RANDOM = "random"
    DIFFERENT = "different"
    LABEL = "label"
    SECOND = "second"


def _reviewer_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or not name.isprintable():
        raise ValueError("is not a name")
    if len(quote(name, safe="")) > _LONGEST_NAME:
        raise ValueError("is too long")
    return name


Key = Annotated[str, Field(min_length=1, max_length=100)]
Reviewer = Annotated[str, AfterValidator(_reviewer_name)]


class SubmittedJudgment(BaseModel):
    """The judgment of one person on one text, as the page submits it.

    Attributes:
        key: Made by the page, one for each judgment: a judgment that is sent twice is kept once.
        rejected: Labels that the person rejected; labels they did not accept count as wrong all the same.
        seconds: How long the text was shown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Key
    reviewer: Reviewer
    text_id: TextId
    verdict: Verdict
    labels: tuple[LabelId, ...] = ()
    rejected: tuple[LabelId, ...] = ()
    note: Annotated[str, Field(max_length=10_000)] = ""
    order: Order
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Judgment(SubmittedJudgment):
    """A judgment as it is kept: a line of the reviewer's file.

    Attributes:
        at: The time, in UTC.
        seed: Seed of the random order of texts.
        program: Digest of the program that proposed the labels in `proposed`, best first.
        given: The labels that the text came with; None if it came without.
        undoes: The key of the judgment that this one takes back.
    """

    format: Literal[1] = 1
    at: datetime
    text: str
    seed: int = 0
    program: str
    proposed: tuple[RankedLabel, ...] = ()
    given: tuple[LabelId, ...] | None = None
    undoes: str | None = None


def valid_judgments(judgments: Iterable[Judgment]) -> list[Judgment]:
    """The judgments that count, earliest first: the last of each person and text that was not taken back."""
    judgments = list(judgments)
    undone = {judgment.undoes for judgment in judgments if judgment.verdict is Verdict.UNDONE}
    last = {
        (judgment.reviewer, judgment.text_id): judgment
        for judgment in judgments
        if judgment.verdict is not Verdict.UNDONE and judgment.key not in undone
    }
    return sorted(last.values(), key=lambda judgment: judgment.at)


@lru_cache(100_000)
def random_position(seed: int, text_id: str | int) -> str:
    """The position of a text in the random order of a seed, which does not depend on the other texts."""
    return hashlib.sha256(f"{seed}\n{text_id!r}".encode()).hexdigest()


def random_sample(judgments: Iterable[Judgment]) -> list[Judgment]:
    """The judgments of texts that chance alone chose.

    These are the texts up to the last one that was reviewed in random order. A text among them that was
    reviewed in another order counts, too, as chance would have chosen it.
    """
    judgments = list(judgments)
    ends: dict[int, str] = {}
    for one in judgments:
        if one.order is Order.RANDOM:
            ends[one.seed] = max(ends.get(one.seed, ""), random_position(one.seed, one.text_id))
    ids = {one.text_id for one in judgments}
    reached = {name for name in ids for seed, end in ends.items() if random_position(seed, name) <= end}
    return [one for one in judgments if one.text_id in reached]


class JudgmentsError(InputError):
    """A file of judgments cannot be read."""


class JudgmentStore:
    """A folder of judgments, for many threads and processes at once.

    A line that ends is on the disk when `append` returns. A line without its end was torn by a kill before it
    was acknowledged: it is not read, and the next append cuts it off.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        # By file: its inode, the end of its last whole line, and its judgments.
        self._files: dict[Path, tuple[int, int, list[Judgment]]] = {}

    def judgments(self) -> list[Judgment]:
        """All judgments, those of a person in their order; a `JudgmentsError` for a line that is none."""
        with self._lock:
            paths = sorted({*self._files, *self.folder.glob(f"*{_ENDING}")})
            return [judgment for path in paths for judgment in self._read(path)]

    def check(self) -> None:
        """Checks that judgments can be read and written; a `JudgmentsError` or `OutputError` if not."""
        self.judgments()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.folder):
                pass
        except OSError as e:
            raise OutputError(self.folder, f"cannot be written ({e.strerror})", "name another folder") from e

    def append(self, judgment: Judgment) -> Judgment:
        """Keeps a judgment, and returns the first one that has its key.

        Raises:
            OutputError: If it cannot be written.
            JudgmentsError: If the file holds a line that is not a judgment.
        """
        from filelock import FileLock

        path = self.folder / f"{_file_name(judgment.reviewer)}{_ENDING}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock, FileLock(path.with_name(path.name + ".lock")):
                self._read(path)
                for earlier in (one for _, _, judgments in self._files.values() for one in judgments):
                    if earlier.key == judgment.key:
                        return earlier
                append_line(path, judgment.model_dump_json(exclude_none=True).encode() + b"\n")
                return judgment
        except OSError as e:
            hint = "free some space, or name another folder"
            raise OutputError(path, f"cannot be written ({e.strerror})", hint) from e

    def _read(self, path: Path) -> Sequence[Judgment]:
        """The judgments of a file; only lines that are new since the last call are read."""
        inode, end, judgments = self._files.pop(path, (-1, 0, []))
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return ()
        with file:
            status = os.fstat(file.fileno())
            if status.st_ino != inode or status.st_size < end:  # the file was moved away, replaced or cut
                end, judgments = 0, []
            file.seek(end)
            content = whole_lines(file.read())
        lines = enumerate(content.decode("utf-8", "replace").split("\n")[:-1], len(judgments) + 1)
        new = [parse_json_row(Judgment, line, path, row, JudgmentsError) for row, line in lines]
        self._files[path] = (status.st_ino, end + len(content), [*judgments, *new])
        return self._files[path][2]


def _file_name(reviewer: str) -> str:
    """The reviewer in the name of a file that no folder listing hides."""
    name = quote(reviewer, safe=" ")
    return f"%2E{name[1:]}" if name.startswith(".") else name
