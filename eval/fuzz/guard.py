"""Watches one call from inside: what it opens, writes, removes, connects to and starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# The event and which of its arguments are paths that it changes.
_CHANGES = {
    "os.remove": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "os.link": (1,),
    "os.symlink": (1,),
    "shutil.rmtree": (0,),
}
_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn")
_DEVICES = ("/dev/null", "/dev/full", "/dev/stdout", "/dev/stderr")


class Guard:
    """Notes what a call did that it was not asked to do. Made once in a process; audit hooks stay."""

    def __init__(self) -> None:
        self._found: list[str] | None = None
        self._writable: tuple[str, ...] = ()
        self._secret = ""
        self._port: int | None = None
        sys.addaudithook(self._audit)

    @contextmanager
    def watch(self, writable: Sequence[Path], secret: Path, port: int | None) -> Iterator[list[str]]:
        """Yields the list of what is found, which fills during the block.

        Args:
            writable: Folders that may be written.
            secret: A file that must not be read.
            port: The port on this machine that may be connected to.
        """
        self._writable = tuple(os.path.realpath(path) for path in writable)
        self._secret, self._port = os.path.realpath(secret), port
        self._found = []
        try:
            yield self._found
        finally:
            self._found = None

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        found = self._found
        if found is None:
            return
        if event == "open":
            self._opened(found, *arguments)
        elif event in _CHANGES:
            for position in _CHANGES[event]:
                self._changed(found, event, arguments[position])
        elif event == "socket.connect":
            address = arguments[1]
            if not (isinstance(address, tuple) and self._port and address[:2] == ("127.0.0.1", self._port)):
                found.append(f"connects to {address}")
        elif event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", b"127.0.0.1", None):
            found.append(f"looks up {arguments[0]}")
        elif event == "urllib.Request":
            found.append(f"requests {arguments[0]}")
        elif event in _STARTS:
            found.append(f"starts {arguments[0]}")

    def _opened(self, found: list[str], path: Any, mode: str | None, flags: int) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if flags & _WRITES if mode is None else set(mode) & set("wax+"):
            self._changed(found, "open", path)
        elif os.path.realpath(os.fsdecode(path)) == self._secret:
            found.append("reads a file that a document names")

    def _changed(self, found: list[str], event: str, path: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        text = os.fsdecode(path)
        if event in ("os.remove", "os.rmdir") and "/" not in text:
            return  # below a folder that shutil.rmtree has named
        # What is renamed or removed is the link, not what it leads to.
        real = str(Path(text).parent.resolve() / Path(text).name)
        if text not in _DEVICES and not any(
            real == root or real.startswith(root + os.sep) for root in self._writable
        ):
            found.append(f"{event} {text}")
