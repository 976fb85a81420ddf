"""A model that cannot be had ends the call at once, and the call says what to change."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import LMError, LMUnavailableError, UsageError
from irr.labels.space import LabelSpace
from irr.lm.loop import run_on_loop
from irr.lm.registry import check_name, open_model
from irr.lm.server_client import ServedModel
from irr.lm.server_errors import check_address
from irr.program.program import build
from tests.doubles.faulty_server import Behaviour, Call, FaultyServer, completion, failure, faulty_server
from tests.doubles.scripted import chat
from tests.support import Irr, read_jsonl, write_jsonl

KEY = "sk-Zq7Wm2Xv9Rt4Ky1Pb8"


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    with faulty_server() as running:
        yield running


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, Path]:
    texts = [{"id": str(i), "text": f"Bake bread, number {i}", "labels": ["bake"]} for i in range(20)]
    return {"texts": write_jsonl(tmp_path / "t.jsonl", texts), "output": tmp_path / "o.jsonl"}


def always(reply: Any) -> Behaviour:
    async def behave(_call: Call, _number: int) -> web.StreamResponse:
        response: web.StreamResponse = reply()
        return response

    return behave


REFUSALS = {
    "key": (lambda: failure(401, f"Incorrect API key provided: {KEY[:12]}."), "set OPENAI_API_KEY"),
    "rights": (lambda: failure(403, "no access"), "set OPENAI_API_KEY"),
    "model": (lambda: failure(404, "The model `any` does not exist."), "correct the model's name"),
    "address": (lambda: web.Response(status=404, text="404 page not found"), "correct `api_base`"),
    "redirect": (lambda: web.Response(status=301, headers={"Location": "https://x/"}), "correct `api_base`"),
}


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        ("classify", "key"),
        ("classify", "address"),
        ("eval", "key"),
        ("inspect", "model"),
        ("optimize", "key"),
    ],
)
def test_a_refusal_ends_the_command_with_one_line(
    irr: Irr, server: FaultyServer, labels_file: Path, rows: dict[str, Path], command: str, refusal: str
) -> None:
    reply, hint = REFUSALS[refusal]
    desk = server.desk(always(reply))
    texts, output = rows["texts"], rows["output"]
    options = {
        "classify": ("--input", texts, "--output", output),
        "eval": ("--gold", texts, "--json", output),
        "inspect": ("--text", "Bake bread"),
        "optimize": ("--train", texts, "--val", texts, "--output", output, "--optimizer", "none"),
    }[command]
    lm = ("--lm", "openai/any", "--api-base", desk.api_base)
    result = irr(command, "--labels", labels_file, *options, *lm)
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("label entries ")]
    assert line.startswith("irr: ")
    assert hint.replace("`api_base`", "--api-base") in line
    assert not output.exists(), "nothing may look like a result"
    assert not list(output.parent.glob(f"{output.name}.part*")), "nothing may stand in a corrected call's way"
    assert len(desk.calls) <= 64, "it went on asking"


def test_what_was_done_before_a_refusal_is_kept_and_gone_on_with(
    irr: Irr, server: FaultyServer, labels_file: Path, tmp_path: Path
) -> None:
    texts = [{"id": str(i), "text": f"Bake bread, number {i}"} for i in range(300)]
    source, output = write_jsonl(tmp_path / "t.jsonl", texts), tmp_path / "o.jsonl"
    revoked = True

    async def behave(_call: Call, number: int) -> web.StreamResponse:
        return failure(401) if revoked and number >= 150 else completion('{"ranking": [1]}')

    desk = server.desk(behave)
    call = ("classify", "--labels", labels_file, "--input", source, "--output", output)
    lm = ("--rank-lm", "openai/any", "--api-base", desk.api_base, "--concurrency", "4")
    stopped = irr(*call, *lm)
    assert stopped.returncode == 2
    assert "repeat the same call to go on" in stopped.stderr
    done = len(Path(f"{output}.part").read_bytes().splitlines())
    assert 0 < done <= 150
    revoked = False
    asked = len(desk.calls)
    result = irr(*call, *lm)
    assert result.returncode == 0, result.stderr
    assert f"going on after row {done}" in result.stderr
    assert len(desk.calls) - asked == 300 - done
    answers = read_jsonl(output)
    assert [row["id"] for row in answers] == [row["id"] for row in texts]
    assert not any("fallbacks" in row for row in answers)


def some(share: int) -> Behaviour:
    """A server that has no answer to one request in `share`, or to any if that is 1."""

    async def behave(call: Call, _number: int) -> web.StreamResponse:
        text = call.body["messages"][-1]["content"]
        number = int(text.split("number ")[1].split("\n")[0].split()[0])
        return completion("no JSON") if number % share == 0 else completion('{"ranking": [1]}')

    return behave


@pytest.mark.parametrize(
    ("command", "share", "code"), [("classify", 1, 1), ("classify", 20, 0), ("eval", 5, 1)]
)
def test_more_than_a_tenth_without_the_model_is_said_first(
    irr: Irr,
    server: FaultyServer,
    labels_file: Path,
    rows: dict[str, Path],
    command: str,
    share: int,
    code: int,
) -> None:
    desk = server.desk(some(share))
    options = {
        "classify": ("--input", rows["texts"], "--output", rows["output"]),
        "eval": ("--gold", rows["texts"], "--json", rows["output"]),
    }[command]
    lm = ("--rank-lm", "openai/any", "--api-base", desk.api_base)
    result = irr(command, "--labels", labels_file, *options, *lm)
    assert result.returncode == code, result.stderr
    said = result.stderr if command == "classify" else result.stdout
    warning = f"{20 // share} of 20 texts answered WITHOUT THE LANGUAGE MODEL"
    first = next(line for line in said.splitlines() if not line.startswith("label entries "))
    assert first.startswith(warning) == bool(code)
    assert (warning in said) == bool(code)


def test_a_trial_that_the_model_did_not_answer_is_no_trial(
    irr: Irr, labels_file: Path, rows: dict[str, Path], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    output = tmp_path / "program"
    call = ("optimize", "--labels", labels_file, "--train", rows["texts"], "--val", rows["texts"])
    lm = ("--rank-lm", "openai/any", "--api-base", f"http://127.0.0.1:{port}/v1", "--optimizer", "none")
    result = irr(*call, "--output", output, *lm)
    assert result.returncode == 2, result.stderr
    assert "unanswered" in result.stderr.splitlines()[-1]
    assert not output.exists()


@pytest.mark.parametrize("refusal", REFUSALS)
def test_python_meets_an_exception_of_its_own(
    server: FaultyServer, refusal: str, kitchen: LabelSpace, encoder: SentenceEncoder, index_folder: Path
) -> None:
    reply, hint = REFUSALS[refusal]
    model = open_model("openai/any", server.desk(always(reply)).api_base)
    program = build(kitchen, encoder=encoder, infer_lm=model, index_folder=index_folder)
    with pytest.raises(LMUnavailableError, match=hint) as caught:
        list(program.batch(["bread"] * 100))
    assert caught.value.code == "refused"
    with pytest.raises(LMUnavailableError):
        program("bread")


@pytest.mark.parametrize("address", ["http://no-such-host.invalid/v1", "https://127.0.0.1:{port}/v1"])
def test_an_address_without_a_model_server_is_not_waited_for(server: FaultyServer, address: str) -> None:
    port = server.desk(always(lambda: failure(500))).api_base.split(":")[2].split("/")[0]
    model = open_model("openai/any", address.format(port=port))
    assert model is not None
    start = time.monotonic()
    with pytest.raises(LMUnavailableError, match="correct `api_base`") as caught:
        run_on_loop(model.chat(chat("bread")))
    assert caught.value.code == "refused"
    assert time.monotonic() - start < 30


BAD_ADDRESSES = [
    *("localhost:8000/v1", "ftp://host/v1", "127.0.0.1", "http:///v1", "http://", "", "/v1"),
    *("http://user:secret@host/v1", "http://host/v1?key=secret", "http://host/v1#secret"),
    *("http://127.0.0.1:abc/v1", "http://127.0.0.1:99999/v1", "http://127.0.0.1:0/v1", "http://[::1/v1"),
    *("http://a host/v1", "http://host/\x1b[2J", "http://host\n/v1", f"http://{'a' * 80}/v1"),
]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_an_address_that_cannot_be_one_is_refused_at_once(address: str) -> None:
    for check in (check_address, lambda base: ServedModel("any", base), lambda b: check_name("none", b)):
        with pytest.raises(UsageError) as caught:
            check(address)
        assert "secret" not in str(caught.value)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8000/v1/", "https://api.openai.com/v1", "http://[::1]:8/v1"]
)
def test_a_good_address_loses_only_its_last_slash(address: str) -> None:
    assert check_address(address) == address.rstrip("/")


@pytest.mark.parametrize("address", ["http://127.0.0.1:abc/v1", "http://[::1/v1"])
def test_the_command_refuses_an_address_before_it_reads_anything(irr: Irr, address: str) -> None:
    for command in (
        ("classify", "--input", "no", "--output", "no", "--labels", "no.jsonl"),
        ("optimize", "--train", "no", "--output", "no", "--labels", "no.jsonl"),
    ):
        result = irr(*command, "--lm", "openai/any", "--api-base", address)
        assert result.returncode == 2
        (line,) = result.stderr.splitlines()
        assert "the address of the model server" in line


def runs_of(key: str) -> list[str]:
    return [key[i : i + 6] for i in range(len(key) - 5)]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 500, 503])
@pytest.mark.parametrize("echo", ["{0}", "Key {1} is wrong", "Bearer {2}", "{1}\u200b{2}", "k={3}..."])
def test_no_part_of_a_key_comes_back(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, status: int, echo: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    said = echo.format(KEY, KEY[:12], KEY[-9:], KEY[5:11])
    desk = server.desk(always(lambda: failure(status, f"model: {said}")))
    with pytest.raises(LMError) as caught:
        run_on_loop(ServedModel("any", desk.api_base, retries=0).chat(chat("bread")))
    shown = f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    assert not [run for run in runs_of(KEY) if run in shown]


def test_an_echo_of_the_key_reaches_no_file_and_no_terminal(
    irr: Irr,
    server: FaultyServer,
    labels_file: Path,
    rows: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    async def behave(_call: Call, number: int) -> web.StreamResponse:
        kind = number % 3
        if kind == 2:
            return completion(json.dumps({"terms": [KEY[2:15]]}))
        return failure((500, 400)[kind], KEY[3 * kind : 12 + 3 * kind])

    desk = server.desk(behave)
    lm = ("--infer-lm", "openai/any", "--api-base", desk.api_base)
    call = ("--labels", labels_file)
    ran = irr("classify", *call, "--input", rows["texts"], "--output", rows["output"], *lm)
    seen = irr("inspect", *call, "--text", "Bake bread", *lm)
    written = "".join(path.read_text("utf-8") for path in tmp_path.iterdir())
    everything = ran.stdout + ran.stderr + seen.stdout + seen.stderr + written
    assert not [run for run in runs_of(KEY) if run in everything]
    assert {call.authorization for call in desk.calls} == {f"Bearer {KEY}"}


@pytest.mark.parametrize("key", ["sk-one\nsk-two", "sk-ä1234567", "sk-\x1b[2J", "sk one", "sk-\udcff"])
def test_a_key_that_cannot_be_sent_is_one_line(
    irr: Irr, labels_file: Path, rows: dict[str, Path], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    lm = ("--lm", "openai/any", "--api-base", "http://127.0.0.1:9/v1")
    call = ("classify", "--labels", labels_file, "--input", rows["texts"], "--output", rows["output"])
    result = irr(*call, *lm)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "OPENAI_API_KEY" in line
    assert "sk-" not in line
    assert not rows["output"].exists()


def test_what_a_server_says_moves_no_terminal_and_stays_one_line(server: FaultyServer) -> None:
    evil = "gone \x1b[2J\x07 \u202eexe.txt\u2066 \x9b31m\r\nirr: all is well \ud800"
    desk = server.desk(always(lambda: web.Response(status=500, body=json.dumps({"message": evil}).encode())))
    with pytest.raises(LMError) as caught:
        run_on_loop(ServedModel("any", desk.api_base, retries=0).chat(chat("bread")))
    assert str(caught.value).isprintable()
    assert "\\x1b[2J" in str(caught.value)
