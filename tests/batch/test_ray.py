"""The batch job on a local Ray: the same answers from many processes, one of which is killed."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from irr.batch import Job, local, run
from irr.batch.tally import Tally
from irr.errors import LMUnavailableError, UsageError
from irr.pipeline import InferRetrieveRank
from tests.doubles.batch_process import program, write_texts
from tests.doubles.kills import same_answers

pytest.importorskip("ray.data")
from irr.batch.ray_engine import on_ray


def workers() -> list[int]:
    """The processes of this user that hold a program for Ray."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::MapWorker(MapBatches(_Worker))"):
                found.append(int(path.parent.name))
        except OSError:  # ended meanwhile
            continue
    return found


def apart(report: Path, work: Callable[..., None], *arguments: object) -> None:
    """Calls `work` in a process of its own: Ray may end its process without a word."""
    process = get_context("spawn").Process(target=_reported, args=(report, work, *arguments))
    process.start()
    process.join(300)
    process.kill()
    process.join()
    assert report.exists(), f"the process ended before the call did, with exit code {process.exitcode}"
    assert report.read_text() == ""


def _reported(report: Path, work: Callable[..., None], *arguments: object) -> None:
    told = ""
    try:
        work(*arguments)
    except BaseException:
        told = traceback.format_exc()
    report.write_text(told)


def interrupted_after_a_kill(there: Job, folder: Path) -> None:
    make = partial(program, folder=folder)
    others = set(workers())
    killed: list[int] = []

    def watch(tally: Tally, _share: float | None) -> None:
        if tally.texts == 300:
            killed.append(next(pid for pid in workers() if pid not in others))
            os.kill(killed[0], signal.SIGKILL)
        if tally.texts == 1_500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(there, make, on_ray(there, make, 2), watch)
    assert killed


def test_two_workers_answer_as_one_process_does_even_if_one_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray is polite to other work on the machine; a test would rather end.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    source = write_texts(tmp_path / "t.jsonl", 3_000)
    lines = source.read_bytes().splitlines(keepends=True)
    lines[100] = b"{oops\n"
    source.write_bytes(b"".join(lines))
    make = partial(program, folder=tmp_path / "index")
    here, there = Job(str(source), str(tmp_path / "l.jsonl")), Job(str(source), str(tmp_path / "r.jsonl"))
    assert run(here, make, local(here), lambda *_: None).errors == 1

    apart(tmp_path / "report", interrupted_after_a_kill, there, tmp_path / "index")
    assert len(Path(there.output + ".part").read_bytes().splitlines()) == 1_500
    # The rest here: a run does not mind where it is worked on.
    assert run(there, make, local(there), lambda *_: None).errors == 1
    assert same_answers(Path(there.output).read_bytes(), Path(here.output).read_bytes())


def test_what_many_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not stdin"):
        on_ray(Job("-", "o.jsonl"), program, 2)
    with pytest.raises(UsageError, match="--retry-errors"):
        on_ray(Job("t.jsonl", "o.jsonl", retry_errors=True), program, 2)


def away(folder: Path) -> InferRetrieveRank:
    """A worker whose model server stays away."""
    raise LMUnavailableError("down", "the server was down for 3 s", "start it, and repeat the same call")


def ended_by_an_outage(folder: Path) -> None:
    job = Job(str(write_texts(folder / "t.jsonl", 10)), str(folder / "o.jsonl"))
    make = partial(program, folder=folder / "index")
    with pytest.raises(LMUnavailableError, match="was down") as caught:
        run(job, make, on_ray(job, partial(away, folder), 1), lambda *_: None)
    assert caught.value.code == "down"
    assert caught.value.hint == "start it, and repeat the same call"


def test_an_outage_in_a_worker_ends_the_call_as_it_does_in_this_process(tmp_path: Path) -> None:
    apart(tmp_path / "report", ended_by_an_outage, tmp_path)
