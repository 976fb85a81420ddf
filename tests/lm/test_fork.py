"""A process that asked a model and then forks: parent and child both go on asking."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from aiohttp import web

from tests.doubles.faulty_server import Call, completion, faulty_server

FORKS = """
import os, sys, threading, time
from irr.lm.protocol import ChatRequest
from irr.lm.loop import run_on_loop
from irr.lm.registry import open_model

model = open_model("openai/any", sys.argv[1])
ask = lambda: run_on_loop(model.chat(ChatRequest((("user", "bread"),))))
tell = lambda *words: os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # one write: a whole line
tell("before", ask())
slow = threading.Thread(target=ask)
slow.start()  # so that the fork comes while an answer is awaited
time.sleep(0.2)
child = os.fork()
tell("child" if child == 0 else "parent", ask())
if child == 0:
    sys.exit(7)  # as a program ends, with all that is registered for its end
slow.join()
tell("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), ask())
"""


async def slowly(_call: Call, number: int) -> web.StreamResponse:
    await asyncio.sleep(1.0 if number == 1 else 0.0)
    return completion("yes")


def test_both_sides_of_a_fork_go_on_asking() -> None:
    with faulty_server() as server:
        address = server.desk(slowly).api_base
        command = [sys.executable, "-c", FORKS, address]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert sorted(result.stdout.splitlines()) == ["before yes", "child yes", "parent yes", "status 7 yes"]
    assert result.stderr == ""
