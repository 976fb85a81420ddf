"""The judgments on disk: a file for each person, one synchronized line for each judgment."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from urllib.parse import quote

from irr.errors import InputError, OutputError
from irr.io.validation import parse_json_row
from irr.review.judgment import Judgment

_ENDING = ".judgments.jsonl"


class JudgmentsError(InputError):
    """A file of judgments cannot be read."""


class Journal:
    """A folder of judgments, for many threads and processes at once.

    A line that ends is on the disk when `append` returns. One without its end was torn by a kill before it
    was acknowledged: it is not read, and whoever appends next cuts it off.

    Args:
        folder: Where the files are; it is made at the first judgment.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[int, list[Judgment]]] = {}
        self._keys: dict[str, Judgment] = {}

    def judgments(self) -> list[Judgment]:
        """All judgments, those of one person in the order in which they were made.

        Raises:
            JudgmentsError: With file and row, for a line that is no judgment.
        """
        with self._lock:
            for path in sorted(self.folder.glob(f"*{_ENDING}")):
                self._refresh(path)
            return [one for _, of_file in self._read.values() for one in of_file]

    def append(self, judgment: Judgment) -> Judgment:
        """Keeps a judgment; one of a key that is there already changes nothing.

        Returns:
            What is kept under its key.

        Raises:
            OutputError: If it cannot be written.
            JudgmentsError: If the file holds a line that is no judgment.
        """
        from filelock import FileLock

        path = self.folder / f"{quote(judgment.reviewer, safe=' ')}{_ENDING}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock, FileLock(path.with_name(path.name + ".lock")):
                whole = self._refresh(path)
                if judgment.key not in self._keys:
                    self._write(path, whole, judgment)
                    self._refresh(path)
                return self._keys[judgment.key]
        except OSError as e:
            hint = "free some space, or name another folder"
            raise OutputError(path, f"cannot be written ({e.strerror})", hint) from e

    def _refresh(self, path: Path) -> int:
        """Reads the lines that came since, and returns where the last whole one ends."""
        start, known = self._read.get(path, (0, []))
        if not path.exists():
            return start
        with path.open("rb") as file:
            file.seek(start)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        lines = whole.decode("utf-8", "replace").split("\n")[:-1]
        rows = enumerate(lines, len(known) + 1)
        more = [parse_json_row(Judgment, line, path, row, JudgmentsError) for row, line in rows]
        self._read[path] = (start + len(whole), known + more)
        self._keys.update((one.key, one) for one in more)
        return start + len(whole)

    def _write(self, path: Path, whole: int, judgment: Judgment) -> None:
        new = not path.exists()
        with path.open("ab") as file:
            if file.tell() != whole:
                file.truncate(whole)
            file.write(judgment.model_dump_json(exclude_none=True).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if new:  # the folder, too, has to know of the file
            descriptor = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
