"""The batch job with a hashing encoder, in this process or in one that may be killed.

    python -m tests.doubles.batch_process --input T.jsonl --output O.jsonl [--api-base URL]

What is measured, or killed, is the batch job and not an encoder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from irr.batch import Job, local, run
from irr.cli.monitor import batch_monitor
from irr.lm.registry import open_model
from irr.lm.server_limits import Limits
from irr.program.program import InferRetrieveRank, build
from tests.doubles.hash_encoder import HashEncoder

LABELS = [
    f"{verb} {thing}" for verb in ("bake", "wash", "buy", "sell") for thing in ("bread", "pans", "flour")
]


def program(
    api_base: str | None = None, folder: Path | None = None, limits: Limits | None = None
) -> InferRetrieveRank:
    """The program; asked of a model server, listwise in rank, if one is named."""
    return build(
        LABELS,
        encoder=HashEncoder(),
        rank_lm=open_model("openai/any", api_base, limits) if api_base else None,
        index_folder=folder or Path(tempfile.gettempdir()) / "irr-tests-batch",
    )


def text(number: int) -> str:
    """A short text of its own."""
    return f"Bake bread number {number} and wash {number % 7} pans"


def write_texts(path: Path, rows: int) -> Path:
    """Writes a file of short texts."""
    with path.open("w", encoding="utf-8") as file:
        for i in range(rows):
            file.write(json.dumps({"id": f"t{i}", "text": text(i), "page": i}) + "\n")
    return path


def start(source: Path, output: Path, api_base: str | None, *options: str) -> subprocess.Popen[bytes]:
    """Starts the job in a process of its own."""
    command = [sys.executable, "-m", "tests.doubles.batch_process", "--input", str(source)]
    command += ["--output", str(output), *(("--api-base", api_base) if api_base else ()), *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def main() -> None:
    """Does what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--api-base")
    parser.add_argument("--workers", type=int, default=0, help="on Ray, so many; 0 is without Ray")
    arguments = parser.parse_args()
    job = Job(arguments.input, arguments.output)
    make = partial(program, arguments.api_base, limits=Limits(256, auto=True))
    work = local(job)
    if arguments.workers:
        from irr.batch import on_ray

        work = on_ray(job, make, arguments.workers)
    with batch_monitor(None) as monitor:
        run(job, make, work, monitor)


if __name__ == "__main__":
    main()
