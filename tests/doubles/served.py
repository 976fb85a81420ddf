"""The service with a hashing encoder: in a thread of this process, or in a process that signals can reach.

    python -m tests.doubles.served --labels L.jsonl --index DIR [--workers 2]

It prints its address once it listens.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from irr.program.program import InferRetrieveRank, build
from irr.workbench.review.session import read_texts
from irr.workbench.serve.application import create_app
from irr.workbench.serve.guard import Access
from irr.workbench.serve.review_page import ReviewPage
from irr.workbench.serve.server import ServeSetup, listen, serve
from irr.workbench.serve.service import Service
from tests.doubles.hash_encoder import HashEncoder


def hashed(labels: Path, index: Path) -> InferRetrieveRank:
    """The program of a label file, as it is now."""
    return build(labels, encoder=HashEncoder(), index_folder=index)


@contextlib.contextmanager
def in_thread(service: Service, *routers: Any, access: Access | None = None) -> Iterator[str]:
    """Serves for the length of a block; yields the address."""
    config = uvicorn.Config(create_app(service, *routers, access=access), log_config=None, access_log=False)
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.005)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


@contextlib.contextmanager
def in_process(labels: Path, index: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serves in a process of its own; yields the address and the process."""
    command = [sys.executable, "-m", "tests.doubles.served", "--labels", str(labels), "--index", str(index)]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip(), process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(60)


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--review", type=Path, help="texts to review")
    parser.add_argument("--decisions", type=Path, help="where judgments are kept")
    arguments = parser.parse_args()
    page = None
    if arguments.review:
        page = ReviewPage(texts=tuple(read_texts(arguments.review)), folder=arguments.decisions)
    setup = ServeSetup(
        extensions=(page,) if page else (),
        build=partial(hashed, arguments.labels, arguments.index),
        workers=arguments.workers,
        access=Access(seconds=arguments.seconds),
    )
    with listen("127.0.0.1", arguments.port) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        serve(setup, listening, lambda: print(address, flush=True))


if __name__ == "__main__":
    main()
