"""The judgments on disk: a file for each person, one synchronized line for each judgment."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple
from urllib.parse import quote

from irr.errors import InputError, OutputError
from irr.io.outputs import append_line, whole_lines
from irr.io.validation import parse_json_row
from irr.workbench.review.judgment import Judgment

_ENDING = ".judgments.jsonl"


class JudgmentsError(InputError):
    """A file of judgments cannot be read."""


class _Known(NamedTuple):
    """What was read of a file: which file it was, where its last whole line ends, and its judgments."""

    inode: int
    end: int
    judgments: Sequence[Judgment]


_NOTHING = _Known(-1, 0, ())


class JudgmentStore:
    """A folder of judgments, for many threads and processes at once.

    A line that ends is on the disk when `append` returns. One without its end was torn by a kill before it
    was acknowledged: it is not read, and whoever appends next cuts it off.

    Args:
        folder: Where the files are; it is made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._read: dict[Path, _Known] = {}
        self._keys: dict[str, Judgment] = {}

    def judgments(self) -> list[Judgment]:
        """All judgments, those of one person in the order in which they were made.

        Raises:
            JudgmentsError: With file and row, for a line that is no judgment.
        """
        with self._lock:
            paths = sorted(self.folder.glob(f"*{_ENDING}"))
            for path in sorted({*self._read, *paths}):
                self._refresh(path)
            return [one for path in paths for one in self._read[path].judgments]

    def check(self) -> None:
        """Checks that judgments can be kept, before anybody judges.

        Raises:
            JudgmentsError: If one that is there cannot be read.
            OutputError: If the folder cannot be made or written.
        """
        self.judgments()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.folder):
                pass
        except OSError as e:
            raise OutputError(self.folder, f"cannot be written ({e.strerror})", "name another folder") from e

    def append(self, judgment: Judgment) -> Judgment:
        """Keeps a judgment; one of a key that is there already changes nothing.

        Returns:
            What is kept under its key.

        Raises:
            OutputError: If it cannot be written.
            JudgmentsError: If the file holds a line that is no judgment.
        """
        from filelock import FileLock

        path = self.folder / f"{_name_of(judgment.reviewer)}{_ENDING}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock, FileLock(path.with_name(path.name + ".lock")):
                self._refresh(path)
                if judgment.key not in self._keys:
                    append_line(path, judgment.model_dump_json(exclude_none=True).encode() + b"\n")
                    self._refresh(path)
                return self._keys[judgment.key]
        except OSError as e:
            hint = "free some space, or name another folder"
            raise OutputError(path, f"cannot be written ({e.strerror})", hint) from e

    def _refresh(self, path: Path) -> None:
        """Reads the lines that came since; a file that was moved away, replaced or cut is read anew."""
        before = self._read.get(path, _NOTHING)
        found = path.stat() if path.exists() else None
        if found is None or found.st_ino != before.inode or found.st_size < before.end:
            for one in before.judgments:
                self._keys.pop(one.key, None)
            before = _NOTHING
        self._read[path] = before
        if found is None:
            return
        start, known = before.end, before.judgments
        with path.open("rb") as file:
            file.seek(start)
            whole = whole_lines(file.read())
        lines = whole.decode("utf-8", "replace").split("\n")[:-1]
        rows = enumerate(lines, len(known) + 1)
        more = [parse_json_row(Judgment, line, path, row, JudgmentsError) for row, line in rows]
        self._read[path] = _Known(found.st_ino, start + len(whole), [*known, *more])
        self._keys.update((one.key, one) for one in more)


def _name_of(reviewer: str) -> str:
    """The reviewer in the name of a file that no folder listing hides."""
    name = quote(reviewer, safe=" ")
    return f"%2E{name[1:]}" if name.startswith(".") else name
