"""What the batch job promises, measured: each command says what, and records it under a name if one is given.

python -m eval.batch kills --kills 100            # kill -9 at random moments; nothing lost, doubled or torn
python -m eval.batch kills --kills 100 --lm
python -m eval.batch repeated                     # work done twice because of a kill at 50 %
python -m eval.batch memory --rows 1000000
python -m eval.batch cost                         # CPU a row outside encoder and language model
python -m eval.batch throughput                   # against a server of 200 ms and 256 slots
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval.record import record
from irr.batch import Job, local, run
from irr.lm.loop import run_on_loop as on_models_loop
from irr.lm.server_client import ServedModel
from irr.lm.server_limits import Limits
from irr.types import Prediction
from tests.doubles.batch_process import program, start, text, write_texts
from tests.doubles.kills import kill_often
from tests.doubles.slow_server import slow_server


def kills(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kills runs of 2,000 rows, with or without a model server."""
    if not arguments.lm:
        return asdict(kill_often(folder, arguments.kills, arguments.rows or 2_000, None, seed=0))
    with slow_server(0.05, 64) as address:
        return asdict(kill_often(folder, arguments.kills, arguments.rows or 2_000, address, seed=1))


def memory(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Resident memory over a long run: the mean of the last tenth of its rows against that of the first."""
    rows = arguments.rows or 1_000_000
    output = folder / "out.jsonl"
    part = output.with_name("out.jsonl.part")
    began = time.monotonic()
    process = start(write_texts(folder / "texts.jsonl", rows), output, None)
    samples: list[tuple[int, int]] = []
    while process.poll() is None:
        time.sleep(0.05)
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, StopIteration):
            status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
            samples.append((part.stat().st_size, resident))
    seconds = time.monotonic() - began
    size = output.stat().st_size
    first = [kib for done, kib in samples if 0 < done <= size / 10]
    last = [kib for done, kib in samples if done >= size * 9 / 10]
    with output.open("rb") as file:
        assert sum(1 for _ in file) == rows
    return {
        "rows": rows,
        "rows_per_second": rows / seconds,
        "first_tenth_mib": statistics.mean(first) / 1024,
        "last_tenth_mib": statistics.mean(last) / 1024,
        "peak_mib": max(kib for _, kib in samples) / 1024,
        "ratio": statistics.mean(last) / statistics.mean(first),
    }


def repeated(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Requests that a model server got twice because of a kill at half of a run."""
    rows = arguments.rows or 50_000
    source, output = write_texts(folder / "texts.jsonl", rows), folder / "out.jsonl"
    part = output.with_name("out.jsonl.part")
    with slow_server(0.05, 256) as address:
        process = start(source, output, address)
        while not part.exists() or _lines(part) < rows / 2:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = _lines(part)
        assert start(source, output, address).wait() == 0
        with urllib.request.urlopen(address.removesuffix("/v1") + "/asked") as answer:
            asked = json.load(answer)
    assert _lines(output) == rows
    return {"rows": rows, "killed_after": done, "requests": asked, "repeated": (asked - rows) / rows}


def cost(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """CPU time a row: of the whole program with an encoder of hashes, and of the job around it."""
    rows = arguments.rows or 20_000
    source = write_texts(folder / "texts.jsonl", rows)
    whole = program(folder=folder / "index")
    answers = list(whole.batch([text(i) for i in range(100)]))

    class Idle:
        """Answers at once, so that what is left is the job's own work."""

        space, encoder, settings, digest = whole.space, whole.encoder, whole.settings, "idle"

        def batch(self, texts: Iterable[str], top_k: int, **options: Any) -> Iterator[Prediction]:
            for i, _ in enumerate(texts):
                yield answers[i % len(answers)]

    figures: dict[str, Any] = {"rows": rows}
    for name, what in (("program_and_job", whole), ("job", Idle())):
        job = Job(str(source), str(folder / f"{name}.jsonl"))
        began = time.process_time()
        run(job, lambda what=what: what, local(job), lambda *_: None)  # type: ignore[misc]
        figures[f"{name}_ms_a_row"] = (time.process_time() - began) / rows * 1_000
    return figures


def throughput(arguments: argparse.Namespace, _folder: Path) -> dict[str, Any]:
    """Requests a second that a server of 200 ms and 256 places gets from `auto`, against what it can take.

    The requests are those of the model client alone, then those of the whole program, which is bound by the
    work that DSPy and the stages do for each.
    """
    seconds, slots = 0.2, 256
    count = arguments.rows or 20_000
    with slow_server(seconds, slots) as address:
        model = ServedModel("any", address, limits=Limits(slots, auto=True))
        alone = count / _timed(lambda: on_models_loop(_ask(model, count)))
        texts = [text(i) for i in range(count // 5)]
        whole = program(address, limits=Limits(slots, auto=True))
        list(whole.batch(texts[:16]))
        end_to_end = len(texts) / _timed(lambda: list(whole.batch(texts)))
    ideal = slots / seconds
    return {
        "requests": count,
        "ideal_per_second": ideal,
        "client_per_second": alone,
        "client_of_ideal": alone / ideal,
        "program_per_second": end_to_end,
        "program_of_ideal": end_to_end / ideal,
    }


async def _ask(model: ServedModel, count: int) -> None:
    body = {"messages": [{"role": "user", "content": "Which of these apply?"}], "max_tokens": 60}
    url = f"{model._endpoint.base}/chat/completions"
    left = iter(range(count))

    async def some() -> None:
        for _ in left:
            await model._post(url, body)

    await asyncio.gather(*(some() for _ in range(2 * model.concurrency)))


def ray(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Two workers on a local Ray against one process, start included; the answers must be equal."""
    source = write_texts(folder / "texts.jsonl", arguments.rows or 100_000)
    figures: dict[str, Any] = {"rows": arguments.rows or 100_000}
    # Ray is polite to others, which would be measured with it.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    outputs = []
    for name, options in (("one_process", []), ("two_ray_workers", ["--workers", "2"])):
        outputs.append(folder / f"{name}.jsonl")
        figures[f"{name}_seconds"] = _timed(lambda o=options: start(source, outputs[-1], None, *o).wait())  # type: ignore[misc]
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    figures["ratio"] = figures["one_process_seconds"] / figures["two_ray_workers_seconds"]
    return figures


def _timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(2**20), b""))


def main() -> None:
    """Measures what the command line names, prints and records it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=sorted(COMMANDS))
    parser.add_argument("--rows", type=int, help="rows of a run, if not the usual number")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--lm", action="store_true", help="kills: with a model server")
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="irr-eval-") as folder:
        figures = COMMANDS[arguments.what](arguments, Path(folder))
    print(json.dumps(figures, indent=2))
    if arguments.name:
        record(arguments.name, figures)


COMMANDS: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "cost": cost,
    "kills": kills,
    "memory": memory,
    "ray": ray,
    "repeated": repeated,
    "throughput": throughput,
}


if __name__ == "__main__":
    main()
