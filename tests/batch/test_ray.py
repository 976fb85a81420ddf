"""The batch job on a local Ray: the same answers from many processes, one of which is killed."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import pytest

from irr.batch import Job, Tally, local, on_ray, run
from irr.errors import LMUnavailableError
from irr.program.program import InferRetrieveRank
from tests.doubles.batch_process import program, write_texts
from tests.doubles.kills import same_answers

# Looked up, not imported: an import takes seconds in every process that collects the tests.
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: make setup")


def workers() -> list[int]:
    """The processes of this user that hold a program for Ray."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::RayWorker"):
                found.append(int(path.parent.name))
        except OSError:  # ended meanwhile
            continue
    return found


def reported(folder: Path, works: Sequence[Callable[[Path], None]]) -> None:
    """Calls each of `works` on a folder; what it fails with is written there, nothing if it does not."""
    for work in works:
        told = ""
        try:
            work(folder)
        except BaseException:
            told = traceback.format_exc()
        (folder / work.__name__).write_text(told)


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both runs on Ray, in one other process: Ray may end its process without a word."""
    folder = tmp_path_factory.mktemp("ray")
    source = write_texts(folder / "t.jsonl", 3_000)
    lines = source.read_bytes().splitlines(keepends=True)
    lines[100] = b"{oops\n"
    source.write_bytes(b"".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        # Ray is polite to other work on the machine; a test would rather end.
        patch.setenv("RAY_worker_niceness", "0")
        works = (ended_by_an_outage, interrupted_after_a_kill)
        process = get_context("spawn").Process(target=reported, args=(folder, works))
        process.start()
        process.join(300)
        process.kill()
        process.join()
    return folder


def went_well(folder: Path, work: Callable[[Path], None]) -> None:
    report = folder / work.__name__
    assert report.exists(), "the process ended before the call did"
    assert report.read_text() == ""


def jobs(folder: Path) -> tuple[Job, Job]:
    """The job that is worked on in one process, and the one on Ray."""
    source = str(folder / "t.jsonl")
    return Job(source, str(folder / "l.jsonl")), Job(source, str(folder / "r.jsonl"))


def interrupted_after_a_kill(folder: Path) -> None:
    _, there = jobs(folder)
    make = partial(program, folder=folder / "index")
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


def test_two_workers_answer_as_one_process_does_even_if_one_is_killed(worked: Path) -> None:
    went_well(worked, interrupted_after_a_kill)
    make = partial(program, folder=worked / "index")
    here, there = jobs(worked)
    assert run(here, make, local(here), lambda *_: None).errors == 1
    assert len(Path(there.output + ".part").read_bytes().splitlines()) == 1_500
    # The rest here: a run does not mind where it is worked on.
    assert run(there, make, local(there), lambda *_: None).errors == 1
    assert same_answers(Path(there.output).read_bytes(), Path(here.output).read_bytes())


def away(folder: Path) -> InferRetrieveRank:
    """A worker whose model server stays away."""
    raise LMUnavailableError("down", "the server was down for 3 s", "start it, and repeat the same call")


def ended_by_an_outage(folder: Path) -> None:
    job = Job(str(write_texts(folder / "few.jsonl", 10)), str(folder / "few.out.jsonl"))
    make = partial(program, folder=folder / "index")
    with pytest.raises(LMUnavailableError, match="was down") as caught:
        run(job, make, on_ray(job, partial(away, folder), 1), lambda *_: None)
    assert caught.value.code == "down"
    assert caught.value.hint == "start it, and repeat the same call"


def test_an_outage_in_a_worker_ends_the_call_as_it_does_in_this_process(worked: Path) -> None:
    went_well(worked, ended_by_an_outage)
