"""Examples to a frozen folder to labels, as a user types it: with a served model, a key, and Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from irr.frozen.folder import read_manifest
from irr.hub import cache_folder
from irr.lm.protocol import ChatRequest
from tests.doubles.faulty_server import Call, Desk, completion, faulty_server
from tests.optimize.test_optimize import NAMES, ODD, ROWS, knowing
from tests.support import Irr, read_jsonl, write_jsonl

KEY = "sk-very-secret-0123456789"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("examples")
    labels = folder / "labels.txt"
    labels.write_text("\n".join(NAMES) + "\n", "utf-8")
    return {
        "labels": labels,
        "rows": write_jsonl(folder / "rows.jsonl", [row.model_dump() for row in ROWS]),
        "odd": write_jsonl(folder / "odd.jsonl", [row.model_dump() for row in ODD]),
    }


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A server that knows what the words mean once it has been shown an example of its teacher's."""

    async def answer(call: Call, number: int) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        messages = tuple((message["role"], message["content"]) for message in call.body["messages"])
        form = call.body["response_format"]["json_schema"]["schema"]
        needs = "" if call.body["model"] == "teacher" else "sell shoes"
        return completion(knowing(needs)(ChatRequest(messages, schema=form)))

    with faulty_server() as server:
        yield server.desk(answer)


def test_examples_to_a_frozen_program_to_labels(irr: Irr, files: dict[str, Path], tmp_path: Path) -> None:
    program = tmp_path / "program"
    call = ("optimize", "--labels", files["labels"], "--train", files["rows"], "--output", program)
    made = irr(*call)
    assert made.returncode == 0, made.stderr
    assert "no --val: 8 of the examples for the trainset, 8 for the valset" in made.stderr
    assert "programs tried" in made.stdout
    assert "retrieve.example_weight=" in made.stdout
    assert "RP@10 on the valset, after against before: +" in made.stdout
    assert "RP@10 on the valset, the trainset's examples:" in made.stdout

    shown = irr("show", program)
    assert shown.returncode == 0, shown.stderr
    for fact in (
        f"{len(NAMES)}, fingerprint",
        "all-MiniLM-L6-v2",
        "16, in examples.jsonl",
        "rp@10",
        "chromadb",
    ):
        assert fact in shown.stdout

    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(program, moved)
    source = write_jsonl(tmp_path / "t.jsonl", [{"id": "1", "text": "zorvik again, zorvik in a case"}])
    answers = []
    for folder in (program, moved):
        output = tmp_path / "o.jsonl"
        result = irr("classify", "--program", folder, "--input", source, "--output", output)
        assert result.returncode == 0, result.stderr
        answers.append(read_jsonl(output))
        output.unlink()
    assert answers[0] == answers[1]
    assert "bake bread" in [label["id"] for label in answers[0][0]["labels"][:5]]


def test_prompts_are_frozen_and_the_key_is_nowhere(
    irr: Irr, files: dict[str, Path], desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    encoders = cache_folder("encoders")
    for name in ("HOME", "XDG_CACHE_HOME", "DSPY_CACHEDIR", "TMPDIR"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    cache_folder("encoders").parent.mkdir()
    cache_folder("encoders").symlink_to(encoders)  # so that it is not exported once more
    program = tmp_path / "program"
    lm = ("--lm", "openai/student", "--teacher-lm", "openai/teacher", "--api-base", desk.api_base)
    made = irr(
        "optimize",
        "--labels",
        files["labels"],
        "--train",
        files["odd"],
        "--output",
        program,
        *lm,
        "--task",
        "esco",
        "--seed",
        "3",
    )
    assert made.returncode == 0, made.stderr
    assert {call.body["model"] for call in desk.calls} == {"student", "teacher"}
    assert {call.authorization for call in desk.calls} == {f"Bearer {KEY}"}
    manifest = read_manifest(program)
    assert manifest.scores["after"].metrics["rp@1"].mean > manifest.scores["before"].metrics["rp@1"].mean
    assert manifest.spec.infer is not None
    assert manifest.spec.infer.name == "student"
    assert manifest.optimized["calls"] == len(desk.calls)
    assert "sell shoes" in irr("show", program).stdout

    source = write_jsonl(tmp_path / "t.jsonl", [{"id": "1", "text": ODD[-1].text}])
    run = ("classify", "--program", program, "--input", source, "--output", tmp_path / "o.jsonl")
    refused = irr(*run)
    assert refused.returncode == 2
    assert "give --api-base, the URL" in refused.stderr
    desk.calls.clear()
    result = irr(*run, "--api-base", desk.api_base)
    assert result.returncode == 0, result.stderr
    assert read_jsonl(tmp_path / "o.jsonl")[0]["labels"][0]["id"] == ODD[-1].labels[0]
    assert {call.body["model"] for call in desk.calls} == {"student"}

    said = "".join(r.stdout + r.stderr for r in (made, refused, result))
    assert KEY not in said
    assert desk.api_base not in made.stdout
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("program.json" in path.name for path in written)
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


def test_ctrl_c_freezes_the_best_so_far(
    files: dict[str, Path], desk: Desk, index_folder: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "irr", "optimize", "--labels", files["labels"], "--train", files["odd"]),
            *("--output", program, "--lm", "openai/student", "--teacher-lm", "openai/teacher"),
            *("--api-base", desk.api_base, "--task", "esco"),
        ],
        env={**os.environ, "IRR_INDEX_FOLDER": str(index_folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(desk.calls) < 30 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "stopped early: interrupted" in stderr
    assert "Traceback" not in stderr
    assert "programs tried" in stdout
    assert read_manifest(program).labels == len(NAMES)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--optimizer", "magic"), "'magic' is not one of 'bootstrap', 'mipro', 'gepa', 'none'"),
        (("--lm", "embedded", "--optimizer", "gepa"), "needs a model that can write instructions"),
        (("--end-to-end",), "--end-to-end needs models for both stages"),
        (("--output", "/dev/null"), "cannot be written (Not a directory)"),
        (("--output", "."), "is or holds the current folder"),
        (("--output", "/proc/program"), "cannot be written"),
    ],
)
def test_what_cannot_work_is_said_before_any_work(
    irr: Irr, files: dict[str, Path], tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    call = ("optimize", "--labels", files["labels"], "--train", files["rows"], "--output", tmp_path / "p")
    result = irr(*call, *options)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
