"""Runs the application in one process or in several, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import uvicorn
from fastapi import APIRouter, FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import SIGNALS

from irr.errors import IrrError, ProgramError, UsageError
from irr.program.program import InferRetrieveRank
from irr.workbench.serve.app import create_app
from irr.workbench.serve.flood import sparse_warnings
from irr.workbench.serve.guard import Access
from irr.workbench.serve.metrics import MULTIPROCESS
from irr.workbench.serve.refusals import Refusal
from irr.workbench.serve.service import Service

# Seconds that a worker may need to answer its parent, while it loads a program.
_PATIENCE = 600
# Seconds beyond those of a request until a stop no longer waits for it.
_GRACE = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """All that a process needs to serve; it can be sent to another process.

    Attributes:
        build: Gives the program.
        queue: Texts that may wait or be under way, in each process.
        access: Who may ask, and how much.
        extensions: Each gives further routes over the service.
        workers: Processes.
    """

    build: Callable[[], InferRetrieveRank]
    queue: int = 1_000
    access: Access = field(default_factory=Access)
    extensions: tuple[Callable[[Service], APIRouter], ...] = ()
    workers: int = 1

    def service(self) -> Service:
        """The service of one process; its program is not loaded yet."""
        return Service(self.build, self.queue)


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections.

    Raises:
        UsageError: If the address is no address of this machine, or in use.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind)
    except (OSError, OverflowError, UnicodeError) as e:
        raise _not_listening(f"{host}:{port}", e) from e
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except (OSError, OverflowError) as e:
        found.close()
        raise _not_listening(f"{host}:{port}", e) from e
    found.set_inheritable(True)
    return found


def _not_listening(address: str, error: Exception) -> UsageError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    hint = "name a free --port, and a --host of this machine"
    return UsageError(f"{address} cannot be listened on ({why})", hint)


def serve(setup: Setup, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT, then answers what it took. SIGHUP swaps the program.

    Args:
        setup: What to serve.
        listening: Takes the connections.
        ready: Called once connections are taken; those of several processes wait until one has loaded the
            program.

    Raises:
        IrrError: If the program cannot be loaded, or another service took the port meanwhile.
    """
    if setup.workers > 1:
        _serve_by_workers(setup, listening, ready)
        return
    service = setup.service()
    service.load()
    with _signals_end_quietly():
        config = _config(setup, partial(_application, setup, service, _Swaps()))
        _take_connections(listening, config)
        ready()
        uvicorn.Server(config).run([listening])


def _take_connections(listening: socket.socket, config: uvicorn.Config) -> None:
    try:
        listening.listen(config.backlog)
    except OSError as e:  # another service took the port since it was bound
        raise _not_listening("the port", e) from e


def _serve_by_workers(setup: Setup, listening: socket.socket, ready: Callable[[], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="irr-metrics-") as folder:
        os.environ[MULTIPROCESS] = folder
        try:
            with _signals_end_quietly():
                config = _config(setup, partial(_worker, setup))
                _take_connections(listening, config)
                ready()
                workers = _Workers(config, [listening])
                workers.run()
        finally:
            del os.environ[MULTIPROCESS]
    if any(process.exitcode == STARTUP_FAILURE for process in workers.processes):
        raise ProgramError("a worker could not load the program", "see the line above")


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Keeps uvicorn from ending the process by the signal that it was stopped with: that is a good end."""
    before = {number: handler for number in SIGNALS if (handler := signal.getsignal(number)) is not None}
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _config(setup: Setup, factory: Callable[[], FastAPI]) -> uvicorn.Config:
    return uvicorn.Config(
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
        timeout_worker_healthcheck=_PATIENCE,
    )


class _Workers(Multiprocess):
    """Processes that share a socket; SIGHUP swaps the program in each."""

    def handle_hup(self) -> None:
        for process in self.processes:
            if process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGHUP)


def _worker(setup: Setup) -> FastAPI:
    """The application of one of several processes."""
    logging.basicConfig(format="irr: %(message)s")
    swaps = _Swaps()
    service = setup.service()
    try:
        service.load()
    except IrrError as e:
        logger.error("%s", e)
        sys.exit(STARTUP_FAILURE)
    parent = os.getppid()
    service.told_to_reload = lambda: os.kill(parent, signal.SIGHUP)
    return _application(setup, service, swaps)


def _application(setup: Setup, service: Service, swaps: _Swaps) -> FastAPI:
    routers = (extend(service) for extend in setup.extensions)
    return create_app(service, *routers, access=setup.access, lifespan=partial(swaps.awaited, service))


class _Swaps:
    """Swaps the program at each SIGHUP; one that comes while the first program is loaded is not forgotten."""

    def __init__(self) -> None:
        self._missed = False
        self._under_way: set[asyncio.Task[None]] = set()
        signal.signal(signal.SIGHUP, self._miss)

    def _miss(self, *_: object) -> None:
        self._missed = True

    @asynccontextmanager
    async def awaited(self, service: Service, _app: FastAPI) -> AsyncIterator[None]:
        """Swaps the program of a service for as long as its application runs."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._begin, service)
        if self._missed:
            self._begin(service)
        with sparse_warnings():
            yield
        service.ready = False

    def _begin(self, service: Service) -> None:
        task = asyncio.ensure_future(self._swap(service))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _swap(self, service: Service) -> None:
        with suppress(Refusal):  # it is logged
            await service.reload()
