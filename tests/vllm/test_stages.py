"""The whole program on a real vLLM: terms, both ways to rank, and a server that dies in mid-run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from irr.config import RankMethod, Settings
from irr.labels.space import LabelSpace
from irr.lm.server_client import ServedModel
from irr.program.program import InferRetrieveRank, build
from irr.types import QueryKind
from tests.vllm.live import LiveServer

LABELS = [
    {"id": "bake", "name": "bake bread", "description": "Mix, knead and bake dough."},
    {"id": "cook", "name": "cook meals for groups"},
    {"id": "wash", "name": "wash dishes", "aliases": ["clean plates and cutlery"]},
    {"id": "cpp", "name": "C++"},
    {"id": "buy", "name": "order supplies, in bulk"},
    {"id": "plan", "name": "plan menus"},
]
IDS = sorted(str(label["id"]) for label in LABELS)
TEXT = "You will bake sourdough bread and order flour every morning."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stages")


def program(
    model: ServedModel, folder: Path, method: RankMethod = RankMethod.LISTWISE, infer: bool = False
) -> InferRetrieveRank:
    return build(
        LabelSpace(LABELS),
        settings=Settings().replace({"rank.method": method, "infer.demos": 4, "rank.demos": 4}),
        infer_lm=model if infer else None,
        rank_lm=model,
        task="esco",
        index_folder=folder,
    )


def test_terms_become_queries(served: ServedModel, folder: Path) -> None:
    prediction = program(served, folder, infer=True)(TEXT, trace=True)
    assert prediction.fallbacks == ()
    assert prediction.trace is not None
    terms = [query.text for query in prediction.trace.queries if query.kind is QueryKind.TERM]
    assert 1 <= len(terms) <= 10
    assert prediction.costs.infer.calls == 1
    assert prediction.costs.infer.completion_tokens > 0
    assert QueryKind.TERM in {match.kind for match in prediction.trace.candidates[0].matches}


@pytest.mark.parametrize("method", [RankMethod.LISTWISE, RankMethod.POINTWISE], ids=str)
def test_each_way_to_rank_returns_the_candidates(
    served: ServedModel, folder: Path, method: RankMethod
) -> None:
    predictions = list(program(served, folder, method).batch([TEXT, "C++ developers", "Plan our menus"]))
    for prediction in predictions:
        assert prediction.fallbacks == ()
        assert sorted(label.id for label in prediction.labels) == IDS
        assert prediction.costs.rank.calls >= 1
        assert prediction.costs.rank.prompt_tokens > 0


def cache_counts(live_server: LiveServer) -> tuple[float, float]:
    return live_server.figure("prefix_cache_queries_total"), live_server.figure("prefix_cache_hits_total")


@pytest.mark.parametrize(("method", "share"), [(RankMethod.LISTWISE, 0.5), (RankMethod.POINTWISE, 0.7)])
def test_most_of_the_prompt_comes_from_the_cache(
    served: ServedModel, folder: Path, live_server: LiveServer, method: RankMethod, share: float
) -> None:
    ranker = program(served, folder, method)
    ranker("A text that fills the cache with what is constant.")
    queries, hits = cache_counts(live_server)
    list(ranker.batch([f"Text number {i} about baking and washing" for i in range(6)]))
    more_queries, more_hits = cache_counts(live_server)
    assert (more_hits - hits) / (more_queries - queries) > share


def test_the_command(live_server: LiveServer, tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text("".join(json.dumps(label) + "\n" for label in LABELS))
    server = live_server.server
    command = [sys.executable, "-m", "irr", "classify", "--labels", str(labels), "--input", "-"]
    command += ["--output", "-", "--costs", "--lm", f"openai/{server.name}", "--api-base", server.api_base]
    stdin = json.dumps({"id": "1", "text": TEXT}) + "\n"
    result = subprocess.run(
        [*command, "--index-folder", str(tmp_path)], input=stdin, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    row = json.loads(result.stdout)
    assert sorted(label["id"] for label in row["labels"]) == IDS
    assert row["costs"]["infer"]["calls"] == row["costs"]["rank"]["calls"] == 1
    assert "fallbacks" not in row
    assert "prompt tokens" in result.stderr


def test_a_server_killed_in_mid_run_costs_no_row(live_server: LiveServer, folder: Path) -> None:
    model = ServedModel(live_server.server.name, live_server.server.api_base, retries=1)
    ranker = program(model, folder)

    def texts() -> Iterator[str]:
        for i in range(200):
            if i == 100:
                live_server.kill()
            yield f"{TEXT} Week {i}."

    predictions = list(ranker.batch(texts()))
    assert len(predictions) == 200
    assert all(sorted(label.id for label in p.labels) == IDS for p in predictions)
    assert all(f.code == "unreachable" for p in predictions for f in p.fallbacks)
    assert predictions[-1].fallbacks

    live_server.restart()
    assert ranker("Bake bread again").fallbacks == ()
