"""What freezing promises: the same answers elsewhere, and calls without DSPy's cost.

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
from pathlib import Path
from typing import Any

from aiohttp import web

from eval.record import finish, options
from irr.config import Settings
from irr.frozen.freeze import freeze
from irr.io.texts import TextRow, read_rows
from irr.labels.space import LabelSpace
from irr.lm.loop import run_on_loop
from irr.lm.registry import open_model
from irr.lm.server_client import ServedModel
from irr.lm.server_limits import Limits
from irr.program.dspy_module import LeanJSONAdapter, dspy_model, predictor_of, prepare_dspy, schema_config
from irr.program.program import build
from irr.prompts.chat import RankingPrompt, list_schema, numbered
from irr.prompts.pack import load_task

IN_FLIGHT = 64
TEXT = "You will plan the shifts of the kitchen and bake bread for forty guests. " * 12
NAMES = [f"skill number {i} in a long list of skills" for i in range(50)]
_SERVER = "from eval.frozen import serve; serve()"
_CHOICE = {
    "message": {"role": "assistant", "content": json.dumps({"ranking": [3, 1, 4, 15, 9]})},
    "finish_reason": "stop",
}
_ANSWER = {"choices": [_CHOICE], "usage": {"prompt_tokens": 900, "completion_tokens": 12}}


def main() -> None:
    """Measures, prints and records."""
    parser = options(__doc__)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="only the first texts")
    parser.add_argument("--lm", nargs="+", default=["none", "embedded"], help="rank with each in turn")
    parser.add_argument("--calls", type=int, default=2_000, help="for the cost of a call")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    figures = {
        "answers": {name: same_answers(arguments, name) for name in arguments.lm},
        "cpu_per_call": call_costs(arguments.calls, arguments.rounds),
    }
    finish(figures, arguments.name)


def same_answers(arguments: argparse.Namespace, lm: str) -> dict[str, Any]:
    """Freezes, moves, classifies in a new process, and compares every score."""
    rows = [row for _, row in read_rows(arguments.texts, TextRow)][: arguments.limit]
    space = LabelSpace.read(arguments.labels)
    program = build(
        space,
        settings=Settings().replace({"retrieve.text_weight": 0.6, "retrieve.candidates": 8}),
        rank_lm=open_model(lm),
        task="esco",
        examples=[{"text": row.text, "labels": [space[i].id]} for i, row in enumerate(rows[:20])],
    )
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        freeze(program, scratch / "here")
        shutil.move(scratch / "here", scratch / "there")
        texts, output = scratch / "texts.jsonl", scratch / "output.jsonl"
        texts.write_text("".join(row.model_dump_json(include={"id", "text"}) + "\n" for row in rows), "utf-8")
        call = f"--program {scratch}/there --input {texts} --output {output} --top-k 50".split()
        subprocess.run([sys.executable, "-m", "irr", "classify", *call], check=True)
        found = [json.loads(line)["labels"] for line in output.read_text("utf-8").splitlines()]
    same, most = 0, 0.0
    for prediction, labels in zip(program.batch([row.text for row in rows], 50), found, strict=True):
        same += [label.id for label in prediction.labels] == [label["id"] for label in labels]
        scores = zip(prediction.labels, labels, strict=True)
        most = max([most, *(abs(one.score - other["score"]) for one, other in scores)])
    return {"texts": len(rows), "same_order": same, "largest_difference_of_scores": round(most, 9)}


def call_costs(calls: int, rounds: int) -> dict[str, float]:
    """Client CPU in ms for each call to a server that answers at once, in rounds that alternate."""
    with subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            api_base = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
            clients = _clients(ServedModel("m", api_base, limits=Limits(IN_FLIGHT)), api_base)
            costs: dict[str, list[float]] = {name: [] for name in clients}
            for _ in range(rounds + 1):
                for name, ask in clients.items():
                    costs[name].append(run_on_loop(_cost(ask, calls)))
        finally:
            server.terminate()
    medians = {name: statistics.median(times[1:]) for name, times in costs.items()}  # the first warms up
    frozen = medians["frozen"]
    return {
        **{f"{name}_ms": round(ms, 4) for name, ms in medians.items()},
        **{f"ratio_to_{name}": round(frozen / ms, 3) for name, ms in medians.items() if name != "frozen"},
    }


def _clients(model: ServedModel, api_base: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    """The same question, as a frozen program asks it, through DSPy to our client, and to DSPy's own."""
    dspy = prepare_dspy()
    prompt = RankingPrompt(load_task("esco"), 4)
    predictor = predictor_of(prompt.prompt)
    config = schema_config(list_schema("ranking", RankingPrompt.items(len(NAMES)), 10)) | {"max_tokens": 120}

    async def frozen() -> list[int]:
        return prompt.read(await model.chat(prompt.request(TEXT, NAMES, 10)), len(NAMES))

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


def serve() -> None:
    """A model server that answers at once; prints its port, and runs until it is terminated."""

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response(_ANSWER)

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(run())


if __name__ == "__main__":
    main()
