"""Runs the application in one process or in several, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import uvicorn
from fastapi import APIRouter, FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from irr import InferRetrieveRank, IrrError
from irr.errors import ProgramError, UsageError
from irr.workbench.serve.application import create_app
from irr.workbench.serve.guard import Access
from irr.workbench.serve.service import MULTIPROCESS, Refusal, Service

# Seconds within which a worker must answer its parent; loading a program holds it up.
_HEALTHCHECK = 600
# Seconds that a stop waits beyond the time limit of a request.
_GRACE = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ServeSetup:
    """All that a process needs to serve, as workers receive it; each extension gives further routes."""

    build: Callable[[], InferRetrieveRank]
    queue: int = 1_000
    access: Access = field(default_factory=Access)
    extensions: tuple[Callable[[Service], APIRouter], ...] = ()
    workers: int = 1


def listen(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address, for `serve`; a `UsageError` if it cannot be bound."""
    with ExitStack() as on_error:
        try:
            kind = socket.SOCK_STREAM
            family, *_, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
            bound = on_error.enter_context(socket.socket(family, kind))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except (OSError, OverflowError, UnicodeError) as e:
            raise _cannot_listen(f"{host}:{port}", e) from e
        bound.set_inheritable(True)
        on_error.pop_all()
    return bound


def _cannot_listen(address: str, error: Exception) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    hint = "name a free --port, and a --host of this machine"
    return UsageError(f"{address} cannot be listened on ({reason})", hint)


def serve(setup: ServeSetup, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT, then answers the requests it took. SIGHUP swaps the program.

    `ready` is called once connections are taken; several processes load the program after that.

    Raises:
        IrrError: If the program cannot be loaded, or another service took the port meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="irr-metrics-") as folder:
        factory = partial(_worker, setup) if setup.workers > 1 else _application(setup)
        config = uvicorn.Config(
            factory,
            factory=True,
            workers=setup.workers,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(setup.access.seconds) + _GRACE,
            timeout_worker_healthcheck=_HEALTHCHECK,
        )
        try:
            listening.listen(config.backlog)
        except OSError as e:  # another service took the port since it was bound
            raise _cannot_listen("the port", e) from e
        ready()
        # uvicorn raises the signal that stopped it again, which would end this process with an error.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        if setup.workers == 1:
            uvicorn.Server(config).run([listening])
            return
        os.environ[MULTIPROCESS] = folder
        try:
            workers = _Workers(config, [listening])
            workers.run()
        finally:
            del os.environ[MULTIPROCESS]
        if any(process.exitcode == STARTUP_FAILURE for process in workers.processes):
            raise ProgramError("a worker could not load the program", "see the line above")


class _Workers(Multiprocess):
    """Processes that share a socket; SIGHUP swaps the program in each, which drops no connection."""

    def handle_hup(self) -> None:
        for process in self.processes:
            if process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGHUP)

    def keep_subprocess_alive(self) -> None:
        # While the parent keeps the worker's end of the pipe, it waits for the answer of a dead worker.
        for process in self.processes:
            process.child_conn.close()
        super().keep_subprocess_alive()


def _worker(setup: ServeSetup) -> FastAPI:
    """The application of one of several processes."""
    logging.basicConfig(format="irr: %(message)s")
    parent = os.getppid()
    try:
        return _application(setup, lambda: os.kill(parent, signal.SIGHUP))()
    except IrrError as e:
        logger.error("%s", e)
        sys.exit(STARTUP_FAILURE)


def _application(setup: ServeSetup, on_reload: Callable[[], None] | None = None) -> Callable[[], FastAPI]:
    """Loads the program, and gives the factory of the application over it."""
    hangup = threading.Event()
    # From before the program is loaded, as a SIGHUP would end the process.
    signal.signal(signal.SIGHUP, lambda *_: hangup.set())
    logging.getLogger("uvicorn.error").addFilter(WarningLimit())
    service = Service(setup.build, setup.queue)
    service.load()
    service.on_reload = on_reload
    routers = [extend(service) for extend in setup.extensions]
    lifespan = partial(_lifespan, service, hangup)
    return lambda: create_app(service, *routers, access=setup.access, lifespan=lifespan)


@asynccontextmanager
async def _lifespan(service: Service, hangup: threading.Event, _app: FastAPI) -> AsyncIterator[None]:
    """Reloads the program at each SIGHUP for as long as the application runs."""

    async def reload_on_hangup() -> None:
        while True:
            await asyncio.sleep(0.1)
            if hangup.is_set():
                hangup.clear()
                with suppress(Refusal):  # it is logged
                    await service.reload()

    reloading = asyncio.create_task(reload_on_hangup())
    yield
    service.ready = False
    reloading.cancel()


class WarningLimit(logging.Filter):
    """Rate-limits uvicorn's warnings such as "Invalid HTTP request"; the next line counts those left out."""

    def __init__(self, seconds: float = 1.0) -> None:
        super().__init__()
        self._seconds = seconds
        # By message: when it was logged, and how often it was left out since.
        self._logged: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged."""
        if record.levelno != logging.WARNING:
            return True
        message, now = record.getMessage(), time.monotonic()
        logged, left_out = self._logged.get(message, (-math.inf, 0))
        if now - logged < self._seconds:
            self._logged[message] = (logged, left_out + 1)
            return False
        self._logged[message] = (now, 0)
        if left_out:
            record.msg, record.args = f"{message} ({left_out:,} more times)", ()
        return True
