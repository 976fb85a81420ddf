"""Hostile input and a faulty model server, in the long form: every row gets its row, whatever comes.

python -m eval.hostile --rows 10000 --name hostile
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from aiohttp import web
from rich.console import Console

from eval.record import record
from irr.batch import Job, local, run
from irr.lm.server_limits import Limits
from tests.doubles.batch_process import LABELS, program, text
from tests.doubles.faulty_server import Behaviour, Call, faulty_server

_LONG = 5_000_000
_BOM = b"\xef\xbb\xbf"


def main() -> None:
    """Runs both, prints what they came to, and records it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--served-rows", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="irr-eval-") as folder:
        figures = {
            "rows": _rows(Path(folder), arguments.rows, arguments.seed),
            "server": _server(Path(folder), arguments.served_rows, arguments.seed),
        }
    Console().print(figures)
    if arguments.name:
        record(arguments.name, figures)


def _rows(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Rows of every kind of wrong among good ones.

    Raises:
        AssertionError: If a row has no row, one too many, or a wrong one.
    """
    draw = random.Random(seed)
    kinds = [_row(draw, number) for number in range(count)]
    source, output = folder / "hostile.jsonl", folder / "hostile.out.jsonl"
    ends = (draw.choice((b"\n", b"\r\n")) for _ in kinds)
    lines = [line + end for (_, line, _), end in zip(kinds, ends, strict=True)]
    source.write_bytes(_BOM + b"".join(lines).rstrip(b"\r\n"))  # and no end of the last line
    tally = run(Job(str(source), str(output)), program, local(Job(str(source), str(output))), _unwatched)
    written = output.read_bytes()
    assert written.endswith(b"\n")
    answers = [json.loads(line) for line in written.split(b"\n")[:-1]]
    assert len(answers) == count == tally.texts
    wrong: Counter[str] = Counter()
    for (kind, _, good), answer in zip(kinds, answers, strict=True):
        assert {"id", "labels", "error"} <= answer.keys(), answer
        assert bool(answer["labels"]) == good == (answer["error"] is None), (kind, answer)
        wrong[kind] += not good
    return {
        "rows": count,
        "answered": count - tally.errors,
        "error_rows": tally.errors,
        "by_kind": dict(sorted(wrong.items())),
        "bytes": source.stat().st_size,
    }


def _row(draw: random.Random, number: int) -> tuple[str, bytes, bool]:
    """What a row is, its bytes, and whether it holds a text that can be answered."""
    good = {"id": f"r{number}", "text": text(number)}
    kind = draw.choice(list(_MAKERS)) if draw.random() < 0.7 else "good"
    if number % 2_500 == 1_250:
        kind = "five megabytes"
    if kind == "good":
        return kind, json.dumps(good).encode(), True
    if kind == "five megabytes":
        return kind, json.dumps({**good, "text": "bread " * (_LONG // 6)}).encode(), False
    line, answerable = _MAKERS[kind](draw, good)
    return kind, line, answerable


def _torn(draw: random.Random, good: dict[str, str]) -> tuple[bytes, bool]:
    line = json.dumps(good).encode()
    return line[: draw.randrange(1, len(line))], False


def _noise(draw: random.Random, good: dict[str, str]) -> tuple[bytes, bool]:
    noise = bytes(draw.randrange(256) for _ in range(40))
    return b"\x01" + noise.replace(b"\n", b" ").replace(b"\r", b" "), False


def _typed(value: Any, key: str) -> Any:
    return lambda draw, good: (json.dumps({**good, key: value}).encode(), False)


_MAKERS: dict[str, Any] = {
    "torn JSON": _torn,
    "noise": _noise,
    "a number for an id": _typed(10**400, "id"),
    "a list for a text": _typed(["a"], "text"),
    "null for a text": _typed(None, "text"),
    "an empty text": _typed(" \t", "text"),
    "an empty id": _typed("", "id"),
    "no object": lambda draw, good: (b'["id", "text"]', False),
    "deep nesting": lambda draw, good: (b"[" * 20_000, False),
    "NaN in another key": lambda draw, good: (json.dumps({**good, "x": float("nan")}).encode(), True),
    "half a surrogate pair": lambda draw, good: (
        json.dumps({**good, "text": good["text"] + "\ud83d"}).encode(),
        True,
    ),
    "NUL in the text": lambda draw, good: (json.dumps({**good, "text": "\0" + good["text"]}).encode(), True),
    "an id again": lambda draw, good: (json.dumps({**good, "id": "twice"}).encode(), True),
    "a mark in the middle": lambda draw, good: (_BOM + json.dumps(good).encode(), True),
    "white space around": lambda draw, good: (b"  \t" + json.dumps(good).encode() + b"  ", True),
    "no UTF-8": lambda draw, good: (json.dumps(good).encode().replace(b"r", b"\xff", 1), False),
}


def _server(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """A server that misbehaves half of the time: each row is answered, with or without it.

    Raises:
        AssertionError: If a row is not.
    """
    source, output = folder / "texts.jsonl", folder / "served.out.jsonl"
    rows = ({"id": str(i), "text": text(i)} for i in range(count))
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    job = Job(str(source), str(output))
    did = Counter[str]()
    with faulty_server() as server:
        api_base = server.desk(_misbehaves(seed, did)).api_base
        limits = Limits(32, auto=True)
        tally = run(job, lambda: program(api_base, limits=limits), local(job), _unwatched)
    answers = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [answer["id"] for answer in answers] == [str(i) for i in range(count)]
    assert all(answer["labels"] and answer["error"] is None for answer in answers)
    codes = Counter(fallback["code"] for answer in answers for fallback in answer.get("fallbacks", []))
    return {"rows": count, "errors": tally.errors, "faults": dict(did), "fallbacks": dict(codes)}


def _misbehaves(seed: int, did: Counter[str]) -> Behaviour:
    """Half of the requests meet a fault, drawn at random."""
    draw = random.Random(seed)

    async def behave(call: Call, _number: int) -> web.StreamResponse:
        fault = draw.choice(_FAULTS) if draw.random() < 0.5 else "none"
        did[fault] += 1
        return await _reply(call.request, fault)

    return behave


_FAULTS = (
    "slow",
    "dropped",
    "HTML",
    "cut short",
    "429",
    "503",
    "prose",
    "empty",
    "other numbers",
    "truncated",
)


async def _reply(request: web.Request, fault: str) -> web.StreamResponse:
    content, finish = json.dumps({"ranking": [2, 1]}), "stop"
    match fault:
        case "slow":
            await asyncio.sleep(0.5)
        case "dropped":
            assert request.transport is not None
            request.transport.close()
        case "HTML":
            return web.Response(text="<html>Bad gateway</html>", content_type="text/html")
        case "cut short":  # says that more follows than does
            response = web.StreamResponse(headers={"Content-Length": "5000"})
            await response.prepare(request)
            await response.write(b'{"choices": [')
            assert request.transport is not None
            request.transport.close()
            return response
        case "429":
            return web.json_response({}, status=429, headers={"Retry-After": "0.05"})
        case "503":
            return web.json_response({}, status=503)
        case "prose":
            content = "I would say the second one."
        case "empty":
            content = ""
        case "other numbers":
            content = json.dumps({"ranking": [len(LABELS) + 7, -1]})
        case "truncated":
            content, finish = '{"ranking": [2, ', "length"
    message = {"role": "assistant", "content": content}
    return web.json_response({"choices": [{"message": message, "finish_reason": finish}]})


def _unwatched(*_: object) -> None:
    """Nobody looks on."""


if __name__ == "__main__":
    main()
