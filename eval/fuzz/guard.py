"""Watches one call from inside: what it opens, writes, removes, connects to and starts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# The event and which of its arguments are paths that it changes.
_CHANGES = {"os.rename": (0, 1), "os.link": (1,), "os.symlink": (1,)} | dict.fromkeys(
    ("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "shutil.rmtree"), (0,)
)
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
        """Yields the list of what is found of a call that may write to some folders and use a port."""
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


def check() -> None:
    """Does what is allowed and what is not, and makes sure that the guard tells them apart."""
    guard, closed = Guard(), socket.socket()
    closed.bind(("127.0.0.1", 0))
    address = closed.getsockname()
    with tempfile.TemporaryDirectory() as name:
        out, secret, elsewhere = (Path(name) / part for part in ("out", "secret", "elsewhere"))
        out.mkdir()
        secret.write_text("x")
        elsewhere.write_text("x")
        with guard.watch([out], secret, address[1]) as allowed:
            (out / "new").write_text("x")
            (out / "new").rename(out / "newer")
            (out / "newer").unlink()
            elsewhere.read_text()
            socket.socket().connect_ex(address)
        with guard.watch([out], secret, None) as seen:
            secret.read_text()
            elsewhere.write_text("y")
            elsewhere.rename(out / "taken")
            socket.socket().connect_ex(address)
            subprocess.run(["true"], check=True)
    closed.close()
    wanted = ["reads a file", f"open {elsewhere}", f"os.rename {elsewhere}", "connects to", "starts true"]
    if allowed or any(part not in " ".join(seen) for part in wanted):
        raise RuntimeError(f"the guard is blind: {allowed} is allowed, and of {wanted} it saw {seen}")
