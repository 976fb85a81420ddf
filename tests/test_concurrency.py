"""Concurrent callers of a program: the same answers, nobody disturbed, nothing left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import irr
from irr.errors import LMError, UsageError
from irr.program.grouping import Coalescer
from irr.program.program import InferRetrieveRank
from irr.rank.ranker import RetrievalRanker
from irr.types import Candidate, Prediction, Ranking
from tests.doubles.batch_process import program as hashed_program
from tests.doubles.batch_process import text
from tests.doubles.hash_encoder import HashEncoder
from tests.doubles.scripted import ScriptedModel

TEXTS = [text(i) for i in range(200)]


@pytest.fixture(scope="module")
def hashed(tmp_path_factory: pytest.TempPathFactory) -> InferRetrieveRank:
    return hashed_program(folder=tmp_path_factory.mktemp("index"))


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def agree(found: Sequence[Prediction], expected: Sequence[Prediction]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert [label.id for label in one.labels] == [label.id for label in other.labels]
        assert [x.score for x in one.labels] == pytest.approx([x.score for x in other.labels], abs=2e-6)
        assert one.error == other.error


class Watched:
    """Ranks by score; knows how many texts came together, and can be made to wait or to fail."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.free = threading.Event()
        self.free.set()
        self.begun = threading.Event()

    def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
        self.sizes.append(len(texts))
        self.begun.set()
        assert self.free.wait(30)
        if any("breaks" in text for text in texts):
            raise ValueError("a text that breaks the ranker")
        if any("unreachable" in text for text in texts):
            raise LMError("down", "the server is gone")
        return RetrievalRanker().rank(texts, candidates)


@pytest.fixture
def watched(hashed: InferRetrieveRank) -> tuple[InferRetrieveRank, Watched]:
    ranker = Watched()
    return replace(hashed, stages=replace(hashed.stages, ranker=ranker), coalescer=Coalescer()), ranker


def test_threads_and_tasks_get_the_answers_of_a_batch(hashed: InferRetrieveRank) -> None:
    expected = list(hashed.batch(TEXTS, 3))
    with ThreadPoolExecutor(32) as pool:
        agree(list(pool.map(lambda t: hashed(t, 3), TEXTS)), expected)

    async def ask() -> list[Prediction]:
        return await asyncio.gather(*(hashed.aclassify(t, 3) for t in TEXTS))

    agree(asyncio.run(ask()), expected)


def test_the_real_encoder_gives_concurrent_callers_the_answers_of_a_batch(program: InferRetrieveRank) -> None:
    expected = list(program.batch(TEXTS[:40]))
    with ThreadPoolExecutor(16) as pool:
        agree(list(pool.map(program, TEXTS[:40])), expected)


def test_texts_that_wait_are_answered_together(watched: tuple[InferRetrieveRank, Watched]) -> None:
    program, ranker = watched
    ranker.free.clear()
    with ThreadPoolExecutor(33) as pool:
        first = pool.submit(program, TEXTS[0])
        assert ranker.begun.wait(30)
        others = [pool.submit(program, t) for t in TEXTS[1:33]]
        while program.coalescer.waiting < 32:
            time.sleep(0.001)
        ranker.free.set()
        assert first.result().labels
        assert all(other.result().labels for other in others)
    assert ranker.sizes == [1, 32]


def test_a_group_is_no_larger_than_a_batch_makes_it(watched: tuple[InferRetrieveRank, Watched]) -> None:
    program, ranker = watched

    async def ask() -> None:
        await asyncio.gather(*(program.aclassify(t) for t in TEXTS))

    asyncio.run(ask())
    assert max(ranker.sizes) <= program.stages.group_texts
    assert sum(ranker.sizes) == len(TEXTS)
    assert len(ranker.sizes) < len(TEXTS) / 4


def test_who_wants_something_else_gets_it(hashed: InferRetrieveRank) -> None:
    part = hashed.within(only=["bake bread", "buy flour"])

    async def ask() -> list[Prediction]:
        calls = [(hashed, k, trace) for k in (1, 4) for trace in (False, True)] + [(part, 5, False)]
        return await asyncio.gather(*(p.aclassify(t, k, trace) for t in TEXTS[:20] for p, k, trace in calls))

    answers = asyncio.run(ask())
    assert [len(p.labels) for p in answers] == [1, 1, 4, 4, 2] * 20
    assert [p.trace is not None for p in answers] == [False, True, False, True, False] * 20
    assert {label.id for p in answers[4::5] for label in p.labels} == {"bake bread", "buy flour"}


def test_a_text_without_an_answer_and_one_that_breaks_concern_their_own_callers_only(
    watched: tuple[InferRetrieveRank, Watched],
) -> None:
    program, _ = watched
    texts = ["", "bread that breaks", None, *TEXTS[:30]]

    async def ask() -> list[Prediction | BaseException]:
        return await asyncio.gather(*map(program.aclassify, texts), return_exceptions=True)

    empty, broken, missing, *others = asyncio.run(ask())
    assert isinstance(empty, Prediction)
    assert empty.error
    assert isinstance(missing, Prediction)
    assert missing.error
    assert isinstance(broken, ValueError)
    assert all(isinstance(p, Prediction) and p.labels for p in others)


def test_what_concerns_all_is_told_to_all(watched: tuple[InferRetrieveRank, Watched]) -> None:
    program, ranker = watched

    async def ask() -> list[Prediction | BaseException]:
        texts = [f"unreachable {i}" for i in range(40)]
        return await asyncio.gather(*map(program.aclassify, texts), return_exceptions=True)

    assert all(isinstance(found, LMError) for found in asyncio.run(ask()))
    assert len(ranker.sizes) < 10, "no text is tried by itself"


def test_a_cancelled_task_disturbs_nobody(watched: tuple[InferRetrieveRank, Watched]) -> None:
    program, ranker = watched
    ranker.free.clear()

    async def ask() -> list[Prediction | BaseException]:
        first = asyncio.create_task(program.aclassify(TEXTS[0]))
        await asyncio.to_thread(ranker.begun.wait, 30)
        tasks = [asyncio.create_task(program.aclassify(t)) for t in TEXTS[1:20]]
        await asyncio.sleep(0)
        for task in [first, *tasks[1::2]]:
            task.cancel()
        await asyncio.sleep(0)
        ranker.free.set()
        return await asyncio.gather(first, *tasks, return_exceptions=True)

    answers = asyncio.run(ask())
    assert all(isinstance(found, asyncio.CancelledError) for found in answers[::2])
    assert all(isinstance(found, Prediction) and found.labels for found in answers[1::2])
    program.close()
    assert ranker.sizes == [1, 10], "what nobody waits for is not worked on"


def test_a_lone_caller_starts_no_thread(watched: tuple[InferRetrieveRank, Watched]) -> None:
    program, _ = watched
    before = threads()
    for t in TEXTS[:5]:
        assert program(t).labels
    assert threads() == before


def test_leaving_the_block_waits_for_what_is_under_way(watched: tuple[InferRetrieveRank, Watched]) -> None:
    asked, ranker = watched
    ranker.free.clear()
    with ThreadPoolExecutor(20) as pool:
        with asked as program:
            futures = [pool.submit(program, t) for t in TEXTS[:20]]
            while program.coalescer.waiting < 19:
                time.sleep(0.001)
            threading.Timer(0.1, ranker.free.set).start()
        assert program.coalescer.waiting == 0
        assert sum(ranker.sizes) == 20
        assert all(future.result().labels for future in futures)
    assert "irr-group" not in threads()
    assert asked(TEXTS[0]).labels, "a later call begins anew"


def test_a_stage_may_ask_the_program(hashed: InferRetrieveRank) -> None:
    class Asks:
        def rank(self, texts: Sequence[str], candidates: Sequence[Sequence[Candidate]]) -> list[Ranking]:
            assert all(hashed(t).labels for t in texts)
            return RetrievalRanker().rank(texts, candidates)

    asking = replace(hashed, stages=replace(hashed.stages, ranker=Asks()))
    with ThreadPoolExecutor(8) as pool:
        assert all(p.labels for p in pool.map(asking, TEXTS[:16], timeout=60))


def test_with_a_language_model_several_groups_are_under_way(tmp_path: Path) -> None:
    model = ScriptedModel(lambda request: '{"ranking": [2, 1]}')
    labels = ["bake bread", "wash pans"]
    program = irr.build(labels, encoder=HashEncoder(), rank_lm=model, index_folder=tmp_path)
    expected = list(program.batch(TEXTS[:32]))

    async def ask() -> list[Prediction]:
        return await asyncio.gather(*map(program.aclassify, TEXTS[:32]))

    found = asyncio.run(ask())
    assert [[x.id for x in p.labels] for p in found] == [[x.id for x in p.labels] for p in expected]
    assert all(p.costs.rank.calls == 1 for p in found)


def test_an_unusable_call_is_refused_at_once(hashed: InferRetrieveRank) -> None:
    with pytest.raises(UsageError, match="at least one"):
        asyncio.run(hashed.aclassify("bread", 0))


def test_warming_up_changes_nothing(hashed: InferRetrieveRank) -> None:
    before = hashed(TEXTS[0])
    hashed.warm_up()
    assert hashed(TEXTS[0]) == before


SCRIPT = """
import sys, threading
from pathlib import Path
from tests.doubles.batch_process import program, text
asked = program(folder=Path(sys.argv[1]))
def many():
    for i in range(20):
        assert asked(text(i)).labels
    print("done", flush=True)
for _ in range(8):
    threading.Thread(target=many).start()
"""


def test_nothing_hangs_or_is_lost_when_the_interpreter_ends(tmp_path: Path) -> None:
    """The main thread ends at once; the others ask on until they have their answers."""
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (found.returncode, found.stdout.count("done"), found.stderr) == (0, 8, "")
