"""A program that is used in a forked process says so instead of waiting for ever."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from multiprocessing.connection import Connection

import pytest

import irr
from irr.errors import UsageError


def _child(program: irr.InferRetrieveRank, pipe: Connection) -> None:
    signal.alarm(60)
    try:
        program("bake bread")
        pipe.send("answered")
    except UsageError as e:
        pipe.send(str(e))
    os._exit(0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forking beside threads is the very mistake
def test_a_forked_child_gets_a_clear_error(program: irr.InferRetrieveRank) -> None:
    assert program("bake bread").labels
    here, there = get_context("fork").Pipe(duplex=False)
    process = get_context("fork").Process(target=_child, args=(program, there))
    process.start()
    assert here.poll(60), "the child hangs"
    assert "built before the process was forked" in here.recv()
    process.join(60)
    assert process.exitcode == 0
    assert program("bake bread").labels
