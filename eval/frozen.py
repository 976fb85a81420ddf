"""What freezing promises: the same answers elsewhere, calls without DSPy's cost, and a quick start.

python -m eval.frozen --labels DIR/labels.jsonl --texts DIR/test.jsonl --lm none embedded
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing import Process, Queue
from pathlib import Path
from typing import Any

from eval.record import record
from irr.config import Settings
from irr.frozen.freeze import freeze, load
from irr.io.texts import TextRow, read_rows
from irr.labels.space import LabelSpace
from irr.lm.loop import run_on_loop
from irr.lm.registry import open_model
from irr.lm.server_client import ServedModel
from irr.lm.server_limits import Limits
from irr.program.dspy_module import LeanJSONAdapter, dspy_model, predictor_of, prepare_dspy, schema_config
from irr.program.program import build
from irr.prompts.chat import list_schema
from irr.prompts.pack import load_task
from irr.prompts.templates import RankingPrompt, numbered

_COMMAND = [sys.executable, "-m", "eval.frozen"]
IN_FLIGHT = 64
TEXT = "You will plan the shifts of the kitchen and bake bread for forty guests. " * 12
NAMES = [f"skill number {i} in a long list of skills" for i in range(50)]
ANSWER = json.dumps({"ranking": [3, 1, 4, 15, 9]})


def main() -> None:
    """Measures what was asked for, and records it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="only the first texts")
    parser.add_argument(
        "--lm", nargs="+", default=["none", "embedded"], help="to rank with, one after the other"
    )
    parser.add_argument("--calls", type=int, default=2_000, help="for the cost of a call")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", help="record the result under this name")
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--start", choices=["encoder", "program"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    texts = [row.text for _, row in read_rows(arguments.texts, TextRow)][: arguments.limit]
    if arguments.answer:
        _write_answers(load(arguments.answer), texts)
        return
    if arguments.start:
        _start(arguments.start, arguments.labels, texts[0])
        return
    figures: dict[str, Any] = {
        "answers": _answers(arguments, texts),
        "cpu_per_call": _call_costs(arguments.calls, arguments.rounds),
        "start": _starts(arguments),
    }
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    if arguments.name:
        record(arguments.name, figures)


def _answers(arguments: argparse.Namespace, texts: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        return {name: _same_answers(arguments, name, texts, Path(scratch)) for name in arguments.lm}


def _same_answers(
    arguments: argparse.Namespace, name: str, texts: list[str], scratch: Path
) -> dict[str, Any]:
    """Freezes, moves, loads in a new process, and compares every score."""
    here, there = scratch / name, scratch / "moved" / name
    space = LabelSpace.read(arguments.labels)
    examples = [{"text": text, "labels": [space[i].id]} for i, text in enumerate(texts[:20])]
    program = build(
        space,
        settings=Settings().replace({"retrieve.text_weight": 0.6, "retrieve.candidates": 8}),
        rank_lm=open_model(name),
        task="esco",
        examples=examples,
    )
    freeze(program, here)
    there.parent.mkdir(exist_ok=True)
    shutil.move(here, there)
    expected = [prediction.model_dump(mode="json") for prediction in program.batch(texts, 50)]
    del program
    command = [*_COMMAND, "--labels", arguments.labels, "--texts", arguments.texts]
    command += ["--answer", there]
    command += ["--limit", str(arguments.limit)] if arguments.limit else []
    answered = subprocess.run(command, check=True, capture_output=True, text=True)
    found = [json.loads(line) for line in answered.stdout.splitlines()]
    same, most = 0, 0.0
    for one, other in zip(expected, found, strict=True):
        pairs = list(zip(one["labels"], other["labels"], strict=True))
        same += all(a["id"] == b["id"] for a, b in pairs)
        most = max([most, *(abs(a["score"] - b["score"]) for a, b in pairs)])
    return {"texts": len(texts), "same_order": same, "largest_difference_of_scores": round(most, 9)}


def _write_answers(program: Any, texts: list[str]) -> None:
    for prediction in program.batch(texts, 50):
        sys.stdout.write(prediction.model_dump_json() + "\n")


def _call_costs(calls: int, rounds: int) -> dict[str, float]:
    """Client CPU in ms for each call to a server that answers at once, in rounds that alternate."""
    ports: Queue[int] = Queue()
    server = Process(target=_serve, args=(ports,), daemon=True)
    server.start()
    try:
        api_base = f"http://127.0.0.1:{ports.get(timeout=60)}/v1"
        ways = _ways(ServedModel("m", api_base, limits=Limits(IN_FLIGHT)), api_base)
        costs: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds + 1):
            for name, ask in ways.items():
                costs[name].append(run_on_loop(_cost(ask, calls)))
    finally:
        server.terminate()
    medians = {name: statistics.median(times[1:]) for name, times in costs.items()}  # the first warms up
    frozen = medians["frozen"]
    return {
        **{f"{name}_ms": round(ms, 4) for name, ms in medians.items()},
        **{f"ratio_to_{name}": round(frozen / ms, 3) for name, ms in medians.items() if name != "frozen"},
    }


def _ways(model: ServedModel, api_base: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """The same question, as a frozen program asks it, through DSPy to our client, and to DSPy's own."""
    dspy = prepare_dspy()
    ask = RankingPrompt(load_task("esco"), 4)
    predictor = predictor_of(ask.prompt)
    config = schema_config(list_schema("ranking", RankingPrompt.items(len(NAMES)), 10)) | {"max_tokens": 120}

    async def frozen() -> list[int]:
        return ask.read(await model.chat(ask.request(TEXT, NAMES, 10)), len(NAMES))

    def through_dspy(lm: Any) -> Callable[[], Awaitable[list[int]]]:
        async def ask() -> list[int]:
            with dspy.context(adapter=LeanJSONAdapter(), disable_history=True, trace=None):
                values = {"text": TEXT, "candidates": numbered(NAMES)}
                answer = await predictor.acall(**values, config=config, lm=lm)
                return RankingPrompt.kept(answer.ranking, len(NAMES))

        return ask

    stock = dspy.LM("hosted_vllm/m", api_base=api_base, api_key="EMPTY", cache=False)
    return {
        "frozen": frozen,
        "dspy_over_our_client": through_dspy(dspy_model(model)),
        "dspy": through_dspy(stock),
    }


async def _cost(ask: Callable[[], Awaitable[Any]], calls: int) -> float:
    waiting = iter(range(calls))

    async def worker() -> None:
        for _ in waiting:
            await ask()

    start = time.process_time()
    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))
    return 1000 * (time.process_time() - start) / calls


def _serve(ports: Queue[int]) -> None:
    from aiohttp import web

    body = json.dumps(
        {
            "choices": [{"message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 900, "completion_tokens": 12},
        }
    ).encode()

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ports.put(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(serve())


def _starts(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds to a first vector, and from `load` to a first answer, each in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "program")
        freeze(build(arguments.labels), folder)
        command = [
            sys.executable,
            "-m",
            "eval.frozen",
            "--labels",
            folder,
            "--texts",
            arguments.texts,
            "--start",
        ]
        seconds: dict[str, list[float]] = {"encoder": [], "program": []}
        for _ in range(arguments.rounds):
            for what, times in seconds.items():
                done = subprocess.run([*command, what], check=True, capture_output=True, text=True)
                times.append(float(done.stdout))
    medians = {what: statistics.median(times) for what, times in seconds.items()}
    return {
        **{f"{what}_seconds": round(value, 3) for what, value in medians.items()},
        "ratio": round(medians["program"] / medians["encoder"], 3),
    }


def _start(what: str, folder: Path, text: str) -> None:
    start = time.perf_counter()
    if what == "encoder":
        from irr.encoders.sentence_transformers import SentenceEncoder

        SentenceEncoder().encode([text])
    else:
        load(folder)(text)
    sys.stdout.write(f"{time.perf_counter() - start}\n")


if __name__ == "__main__":
    main()
