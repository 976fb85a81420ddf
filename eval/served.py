"""What the language-model stages cost on a real server, against the same requests sent without irr.

    python -m eval.served --labels DIR/labels.jsonl --texts DIR/a_test.jsonl --python .venv-vllm/bin/python

Starts vLLM with the small embedded model. Measures end-to-end throughput against a raw replay, the share of
prompt tokens that the prefix cache served, and tokens a text against the paper's form of prompt.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from eval import reference
from eval.record import finish, options
from irr.config import RankMethod, Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.io.texts import TextRow, read_rows
from irr.labels.space import LabelSpace
from irr.lm.server_client import ServedModel
from irr.lm.server_limits import Limits
from irr.lm.vllm_server import Server, ServerOptions, running_server
from irr.program.program import build
from irr.types import EntryKind

TASK = "esco"
CONCURRENCY = 16
ROUNDS = 5


class Recorder(ServedModel):
    """A served model that keeps its requests, and whose runs do not meet each other in the prefix cache."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.name, server.api_base, limits=Limits(CONCURRENCY))
        self.salt = ""
        self.sent: list[tuple[str, dict[str, Any]]] = []

    async def _post(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        self.sent.append((url, {"model": self.name, **body}))
        return await super()._post(url, body | ({"cache_salt": self.salt} if self.salt else {}))


@dataclass(frozen=True)
class Bench:
    """What every measurement needs."""

    server: Server
    space: LabelSpace
    encoder: SentenceEncoder
    texts: Sequence[str]

    def run(self, model: Recorder, settings: Settings, salt: str, infer: bool) -> float:
        """Seconds that the program takes for all texts."""
        model.salt, model.sent = salt, []
        program = build(
            self.space,
            encoder=self.encoder,
            settings=settings,
            infer_lm=model if infer else None,
            rank_lm=model,
            task=TASK,
        )
        start = time.perf_counter()
        predictions = list(program.batch(self.texts))
        seconds = time.perf_counter() - start
        failed = [fallback.message for p in predictions for fallback in p.fallbacks]
        if failed:
            raise SystemExit(f"{len(failed)} calls failed, the first: {failed[0]}")
        return seconds


def main() -> None:
    """Starts the server, measures, prints and records."""
    parser = options(__doc__)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True, help="the Python that has vLLM")
    parser.add_argument("--limit", type=int, default=32, help="texts (default 32)")
    arguments = parser.parse_args()
    texts = [row.text for _, row in list(read_rows(arguments.texts, TextRow))[: arguments.limit]]
    with running_server("embedded", ServerOptions(python=arguments.python)) as server:
        bench = Bench(server, LabelSpace.read(arguments.labels), SentenceEncoder(), texts)
        figures: dict[str, Any] = {"texts": len(texts), "throughput": throughput(bench)}
        figures |= {
            "prefix_cache": {
                "listwise_4_demos": cache_share(bench, RankMethod.LISTWISE),
                "pointwise_4_demos": cache_share(bench, RankMethod.POINTWISE),
            },
            "tokens_a_text": tokens(bench),
        }
    finish(figures, arguments.name)


def settings_of(changes: Mapping[str, Any] = {}) -> Settings:
    """Names only: what is measured here is the language model."""
    return Settings().replace({"retrieve.fields": (EntryKind.NAME,), **changes})


def throughput(bench: Bench) -> dict[str, float]:
    """Infer and listwise rank end to end, against its own requests replayed by a bare client, in turns."""
    model = Recorder(bench.server)
    ours, raw = [], []
    for turn in range(ROUNDS):
        ours.append(bench.run(model, settings_of(), f"ours-{turn}", infer=True))
        raw.append(asyncio.run(_replay(model.sent, f"raw-{turn}")))
    texts = len(bench.texts)
    rates = {"irr": texts / statistics.median(ours), "raw": texts / statistics.median(raw)}
    return {**rates, "ratio": rates["irr"] / rates["raw"]}


async def _replay(requests: Sequence[tuple[str, dict[str, Any]]], salt: str) -> float:
    gate = asyncio.Semaphore(CONCURRENCY)
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def send(url: str, body: dict[str, Any]) -> None:
            async with gate, session.post(url, json={**body, "cache_salt": salt}) as answer:
                answer.raise_for_status()
                await answer.read()

        start = time.perf_counter()
        await asyncio.gather(*(send(url, body) for url, body in requests))
        return time.perf_counter() - start


def cache_share(bench: Bench, method: RankMethod) -> float:
    """The share of prompt tokens that the prefix cache served, by the server's own count."""
    model = Recorder(bench.server)
    before = _metrics(bench.server)
    bench.run(
        model,
        settings_of({"rank.method": method, "infer.demos": 4, "rank.demos": 4}),
        f"cache-{method}",
        infer=False,
    )
    after = _metrics(bench.server)
    queries, hits = (after[name] - before[name] for name in ("queries", "hits"))
    return hits / queries


def _metrics(server: Server) -> dict[str, float]:
    with urllib.request.urlopen(server.api_base.removesuffix("/v1") + "/metrics") as answer:
        page = answer.read().decode()
    return {
        name: sum(
            float(n) for n in re.findall(rf"^vllm:prefix_cache_{name}_total\{{.*\}} (\S+)$", page, re.M)
        )
        for name in ("queries", "hits")
    }


def tokens(bench: Bench) -> dict[str, float]:
    """Prompt and new tokens of the ranking of a text, against the paper's form of prompt with 50 candidates.

    Both are asked of the same model about the same texts and candidates, those of the model's terms included.
    """
    model = Recorder(bench.server)
    settings = settings_of()
    retrieve = build(bench.space, encoder=bench.encoder, settings=settings, infer_lm=model, task=TASK)
    program = build(
        bench.space, encoder=bench.encoder, settings=settings, infer_lm=model, rank_lm=model, task=TASK
    )
    ours = theirs = 0
    for prediction in program.batch(bench.texts):
        ours += prediction.costs.rank.prompt_tokens + prediction.costs.rank.completion_tokens
    prompt = reference.prompt_of(retrieve, TASK)
    for text, names in zip(bench.texts, reference.options(retrieve, bench.texts), strict=True):
        body = {
            "model": bench.server.name,
            "prompt": prompt(text, names),
            "max_tokens": 300,
            "stop": ["---"],
            "temperature": 0,
        }
        request = urllib.request.Request(
            f"{bench.server.api_base}/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            usage = json.load(answer)["usage"]
        theirs += usage["prompt_tokens"] + usage["completion_tokens"]
    count = len(bench.texts)
    return {"irr": ours / count, "reference": theirs / count, "ratio": ours / theirs}


if __name__ == "__main__":
    main()
