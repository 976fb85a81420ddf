"""A real vLLM server that a test may kill and start again."""

from __future__ import annotations

import os
import signal
import urllib.request
from contextlib import ExitStack

from irr.lm.vllm_server import Server, ServerOptions, running_server

VARIABLE = "IRR_VLLM_PYTHON"


class LiveServer:
    """The small model under one address, whatever tests do to its process."""

    def __init__(self, python: str) -> None:
        self._python = python
        self._open = ExitStack()
        self.server: Server
        self._start(0)

    def _start(self, port: int) -> None:
        options = ServerOptions(port=port, python=self._python)
        self.server = self._open.enter_context(running_server("embedded", options))

    def figure(self, name: str) -> float:
        """A figure of the server's own metrics, summed over its labels."""
        with urllib.request.urlopen(self.server.api_base.removesuffix("/v1") + "/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{name}{{"))

    def kill(self) -> None:
        """Kills the server and its workers, as a machine that runs out of memory would."""
        os.killpg(self.server.process.pid, signal.SIGKILL)
        self.server.process.wait()

    def restart(self) -> None:
        """Starts it again on the same port."""
        self._open.close()
        self._start(self.server.port)

    def close(self) -> None:
        """Stops it for good."""
        self._open.close()
