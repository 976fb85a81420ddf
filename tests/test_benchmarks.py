"""The benchmark commands: tasks, baselines, recorded runs, and the pages made from them."""

from __future__ import annotations

import hashlib
import http.server
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from eval.runs import Run, read_runs

from eval import task as tasks
from eval.__main__ import app
from eval.peers import CrossEncoderRanker, MostSimilarQuery, WholeText, WordsOnly
from eval.record import command
from eval.tables import TABLES, fill
from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder, model_folder
from irr.errors import InputError, IrrError, UsageError
from irr.frozen.freeze import freeze
from irr.index.store import LabelIndex, open_index
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank
from irr.types import EntryKind
from tests.support import KITCHEN, write_jsonl

ROOT = Path(__file__).parent.parent
GOLD = [
    {"id": "1", "text": "You will bake bread and wash dishes.", "labels": ["bake", "wash"]},
    {"id": "2", "text": "Purchase ingredients", "labels": ["buy"]},
]


@pytest.mark.parametrize("page", ["README.md", "eval/README.md"])
def test_the_tables_of_a_page_are_those_of_the_runs(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert fill(text, read_runs()) == text, f"run: python -m eval table --write {page}"


def run(task: str, system: str, rp10: float, seconds: float = 2.0, limit: int | None = None) -> Run:
    scores = {"rp@1": 0.1, "rp@10": rp10, "rp@50": 0.9, "texts": 4, "seconds": seconds}
    return Run.model_validate(
        {
            **dict.fromkeys(("session", "program", "data", "version", "command"), "x"),
            "task": task,
            "system": system,
            "split": "test",
            "limit": limit,
            "seed": 0,
            "settings": {},
            "machine": {},
            "scores": {**scores, "ci95": {"rp@10": [0.6, 0.75]}},
        }
    )


def test_a_table_shows_the_last_full_run_beside_what_others_published() -> None:
    runs = [run("house", "irr", 0.5), run("house", "irr", 0.651), run("house", "irr", 0.9, limit=10)]
    page = "Before\n\n<!-- table: quality -->\nold\n<!-- /table -->\n\nAfter\n"
    filled = fill(page, runs)
    assert "| **65.1** (60.0 – 75.0) | – | – |" in filled
    assert "as published](https://arxiv.org/abs/2401.12178) | 65.8 | 70.2 | 65.2 |" in filled
    assert filled.startswith("Before\n\n<!-- table: quality -->\n")
    assert filled.endswith("\n<!-- /table -->\n\nAfter\n")
    assert "old" not in filled
    assert fill(filled, runs) == filled
    slower = [run("house", "irr", 0.6), run("house", "bm25", 0.3, seconds=1.0)]
    assert "| 90.0 / – / – | 0.50× |" in TABLES["peers"](slower)
    for wrong in ("<!-- table: nothing -->\n<!-- /table -->", "<!-- table: quality -->\n", "<!-- /table -->"):
        with pytest.raises(UsageError):
            fill(wrong, runs)


def test_every_task_says_what_it_is_and_wants_its_own_data(tmp_path: Path) -> None:
    names = tasks.task_names()
    assert names == ["attack", "biodex", "clinc150", "house", "icd10", "tech", "techwolf", "trove"]
    for name in names:
        task = tasks.read_task(name)
        assert task.source and task.licence
        if task.loader != "trove":
            with pytest.raises(UsageError, match="needs data: give --data"):
                tasks.load_data(task, "test", None)
            with pytest.raises(InputError, match=r"no such file: put (it|all MedDRA terms) there"):
                tasks.load_data(task, "test", tmp_path)
    (tmp_path / "esco").mkdir()
    (tmp_path / "esco" / "labels.jsonl").write_text('{"id": "a", "name": "a"}\n')
    with pytest.raises(InputError, match=r"is not the file of task .house. \(SHA-256 differs\)"):
        tasks.load_data(tasks.read_task("house"), "test", tmp_path)
    with pytest.raises(UsageError, match='no task "hose": name a task file, or one of attack'):
        tasks.read_task("hose")


def test_the_packages_installed_here_are_a_task() -> None:
    test, dev = (tasks.load_data(tasks.read_task("trove"), split, None) for split in ("test", "dev"))
    assert len(test.space) > 800
    assert not {row.id for row in test.rows} & {row.id for row in dev.rows}
    assert all(row.labels and set(row.labels) <= set(test.space.number_of) for row in test.rows)
    assert test.digest != dev.digest


def test_biodex_in_the_form_that_its_home_has(tmp_path: Path) -> None:
    folder = tmp_path / "biodex"
    folder.mkdir()
    (folder / "reaction_terms.txt").write_text("Nausea\nVomiting\nBlood pressure increased\n")
    text = "TITLE: A case of nausea"
    write_jsonl(folder / "train.jsonl", [{"fulltext_processed": text, "reactions": "Nausea, Vomiting"}])
    rows = [{"fulltext_processed": text, "reactions": "Nausea, Not a term, Nausea", "pmid": 1}]
    write_jsonl(folder / "test.jsonl", rows)
    loaded = tasks.load_data(tasks.read_task("biodex"), "test", tmp_path)
    assert [label.prior for label in loaded.space] == [1, 1, 0]
    assert [(row.text, row.labels) for row in loaded.rows] == [(text, ("Nausea",))]
    with pytest.raises(InputError, match=r"holds no validation\.jsonl"):
        tasks.load_data(tasks.read_task("biodex"), "dev", tmp_path)
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "validation-00000-of-00001.parquet")
    dev = tasks.load_data(tasks.read_task("biodex"), "dev", tmp_path)
    assert [row.labels for row in dev.rows] == [("Nausea",)]


@pytest.fixture
def task_file(tmp_path: Path) -> Path:
    """A task of the user's own, on the kitchen's labels."""
    write_jsonl(tmp_path / "labels.jsonl", KITCHEN)
    write_jsonl(tmp_path / "gold.jsonl", GOLD)
    path = tmp_path / "kitchen.toml"
    path.write_text(
        'title = "Kitchen"\nabout = "a"\nsource = "b"\nlicence = "c"\n'
        'labels = { path = "labels.jsonl" }\ntest = { path = "gold.jsonl" }\n'
    )
    return path


def test_two_runs_of_one_command_have_the_same_figures(
    task_file: Path, index_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = task_file.with_name("runs.jsonl")
    options = ["--data", task_file.parent, "--index-folder", index_folder, "--output", output]
    for _ in range(2):
        app(["peers", str(task_file), *map(str, options)], standalone_mode=False)
    app(["run", str(task_file), *map(str, options), "--fields", "name"], standalone_mode=False)
    runs = read_runs(output)
    assert len(runs) == 13
    timed = {"seconds", "texts_per_second"}
    first, second = (
        [(r.system, r.program, {k: v for k, v in r.scores.items() if k not in timed}) for r in part]
        for part in (runs[:6], runs[6:12])
    )
    assert first == second
    assert [system for system, *_ in first] == [
        *("irr", "cosine", "bm25", "irr/names", "cosine/names", "query/names")
    ]
    assert runs[12].system == "irr/names"
    assert runs[12].program == runs[3].program
    assert runs[0].seed == 0 and runs[0].machine["packages"]["numpy"] == np.__version__
    assert "kitchen  irr, names only  rp@5 100.0" in capsys.readouterr().out
    app(["table", "--output", str(output)], standalone_mode=False)
    assert "| irr, names only | – | – | – |" in capsys.readouterr().out


def test_a_frozen_program_runs_on_a_task_with_its_labels(
    program: InferRetrieveRank, task_file: Path, index_folder: Path
) -> None:
    folder, output = task_file.with_name("program"), task_file.with_name("runs.jsonl")
    freeze(program, folder)
    options = ["--data", task_file.parent, "--index-folder", index_folder, "--output", output]
    call = ["run", str(task_file), "--program", str(folder), *map(str, options)]
    app(call, standalone_mode=False)
    [run] = read_runs(output)
    assert (run.system, run.program) == ("irr program", program.digest)
    write_jsonl(task_file.with_name("labels.jsonl"), KITCHEN[:5])
    with pytest.raises(UsageError, match='has other labels than task "kitchen"'):
        app(call, standalone_mode=False)


def test_a_file_is_fetched_from_its_home_once_and_only_if_it_is_the_right_one(
    task_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    home = tmp_path / "home"
    home.mkdir()
    content = (tmp_path / "gold.jsonl").read_bytes()
    (home / "gold.jsonl").write_bytes(content)
    (tmp_path / "gold.jsonl").unlink()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(home))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/gold.jsonl"
        task = tasks.read_task(str(task_file))
        good = tasks.DataFile(path="gold.jsonl", url=url, sha256=hashlib.sha256(content).hexdigest())
        loaded = tasks.load_data(task.model_copy(update={"test": good}), "test", tmp_path)
        assert [row.id for row in loaded.rows] == ["1", "2"]
        wrong = good.model_copy(update={"sha256": "0" * 64})
        with pytest.raises(InputError, match="is not what the task names"):
            tasks.load_data(task.model_copy(update={"test": wrong}), "test", tmp_path)
        server.shutdown()
    again = tasks.load_data(task.model_copy(update={"test": good}), "test", tmp_path)
    assert again.digest == loaded.digest, "its home is not asked again"


@pytest.fixture(scope="module")
def index(kitchen: LabelSpace, encoder: SentenceEncoder, index_folder: Path) -> LabelIndex:
    return open_index(kitchen, encoder, tuple(EntryKind), index_folder)


def test_baselines_rank_by_what_they_say(
    index: LabelIndex, encoder: SentenceEncoder, kitchen: LabelSpace
) -> None:
    text = "Purchase ingredients. Then make some loaves!"
    whole = WholeText("cosine", index, encoder)
    best = {
        label.id: max(
            float(encoder.encode([text])[0] @ encoder.encode([entry])[0])
            for entry in (label.name, *label.aliases, *filter(None, [label.description]))
        )
        for label in kitchen
    }
    [answer] = whole.batch([text], 8)
    assert [label.id for label in answer.labels] == sorted(best, key=lambda label: -best[label])
    assert answer.labels[0].score == pytest.approx(max(best.values()), abs=1e-5)
    [spans] = MostSimilarQuery(index, encoder, Settings()).batch([text], 2)
    assert {label.id for label in spans.labels} == {"buy", "bake"}, "two aliases stand in it word by word"
    [words, nothing] = WordsOnly(kitchen).batch(["kneading, baking", "zzz"], 3)
    assert words.labels[0].id == "bake"
    assert len(nothing.labels) == 3 and nothing.labels[0].score == 0


def test_a_cross_encoder_orders_the_candidates_it_is_given(
    program: InferRetrieveRank, encoder: SentenceEncoder, tmp_path: Path
) -> None:
    """Its head is untrained, so that only the order's form can be checked."""
    from sentence_transformers import CrossEncoder  # here, because each process of a run collects this file

    CrossEncoder(str(model_folder(encoder.name)), num_labels=1).save(str(tmp_path / "model"))
    trace = program("bake bread", trace=True).trace
    assert trace
    [ranking] = CrossEncoderRanker(str(tmp_path / "model")).rank(["bake bread"], [trace.candidates])
    assert {label.id for label in ranking.labels} == {c.label.id for c in trace.candidates}
    scores = [label.score for label in ranking.labels]
    assert scores == sorted(scores, reverse=True)


def test_what_cannot_be_run_is_one_line(task_file: Path) -> None:
    for arguments, words in (
        (["run", str(task_file), "--split", "dev", "--data", str(task_file.parent)], "has no dev set"),
        (["run", str(task_file), "--split", "all", "--data", str(task_file.parent)], "choose test or dev"),
        (["table", "--write", "nothing.md"], "nothing.md cannot be read"),
    ):
        with pytest.raises(IrrError, match=words):
            app(arguments, standalone_mode=False)
    task_file.write_text('title = "a"\n')
    with pytest.raises(InputError, match=r'kitchen\.toml: "about"'):
        tasks.read_task(str(task_file))


def test_a_recorded_command_names_no_folder_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = write_jsonl(tmp_path / "labels.jsonl", KITCHEN)
    given = ["--data", str(tmp_path), f"--labels={labels}", "--task", "eval/tasks/house.toml"]
    monkeypatch.setattr("sys.argv", [str(ROOT / "eval" / "fuzz" / "__main__.py"), *given])
    said = f"--data DIR --labels=DIR/{tmp_path.name}/labels.jsonl --task eval/tasks/house.toml"
    assert command() == f"python -m eval.fuzz {said}"
