"""What is fuzzed: for each reader a call of a command on drawn input, and the promise that the call broke."""

from __future__ import annotations

import hashlib
import http.server
import json
import logging
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from eval.fuzz import inputs
from eval.fuzz.guard import Guard
from irr.cli import main
from irr.frozen.folder import sums_of
from irr.frozen.freeze import freeze
from irr.program.program import build

MOST_BYTES = 2 * 2**30
_SECONDS = 60
_KEPT = Path("build/fuzz").absolute()
# A terminal gets nothing but printable text and line ends.
_PRINTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Finding(NamedTuple):
    """A promise that a case of a target broke."""

    target: str
    number: int
    broke: str
    call: tuple[str, ...]


class Call(NamedTuple):
    """Arguments, and what is on stdin."""

    arguments: tuple[str, ...]
    stdin: bytes = b""


class World(NamedTuple):
    """What all cases of a process share: good files, a frozen program, a run, and a model server's port."""

    labels: str
    texts: str
    program: Path
    run: Path
    port: int


class HashEncoder:
    """Sums a random vector a word, so that the readers are what takes time."""

    name = "hash"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns unit vectors, shape (len(texts), 32)."""
        rows = np.full((len(texts), 32), 1e-6, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.casefold().split()[:200]:
                row += np.random.default_rng(zlib.crc32(word.encode())).standard_normal(32, np.float32)
        unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit


def _labels(draw: random.Random, folder: Path, world: World) -> Call:
    path = inputs.written(draw, folder, "labels", draw.choice((*inputs.TABLES, ".txt")))
    if draw.random() < 0.7:
        return Call(("labels", path, "--output", "out.jsonl", "--json", "out.json"))
    return Call(("classify", "--labels", path, "--input", world.texts, "--output", "out.jsonl"))


def _skos(draw: random.Random, folder: Path, _: World) -> Call:
    language = draw.choice(((),) * 3 + (("--language", draw.choice(("en", "de,en", "", ","))),))
    path = inputs.written(draw, folder, "labels", draw.choice(list(inputs.GRAPHS)))
    return Call(("labels", path, "--output", "out.jsonl", *language))


def _texts(draw: random.Random, folder: Path, world: World) -> Call:
    suffix = draw.choice(inputs.TABLES)
    path = inputs.written(draw, folder, "texts", suffix)
    call = ("classify", "--labels", world.labels)
    if draw.random() < 0.1:
        return Call((*call, "--input", "-", "--output", "-"), stdin=Path(path).read_bytes())
    if draw.random() < 0.3:
        report = draw.choice(((), ("--report", "out.html")))
        return Call(("eval", "--labels", world.labels, "--gold", path, "--json", "out.json", *report))
    output = draw.choice(("out.jsonl",) * 4 + ("out.jsonl.gz", f"out{suffix}", "-"))
    return Call((*call, "--input", path, "--output", output))


def _inspect(draw: random.Random, world: World, *options: str, often: float = 0.3) -> Call:
    models = ("--lm", "openai/any", "--api-base", f"http://127.0.0.1:{world.port}/v1")
    more = (*models, "--rank-method", draw.choice(("auto", "pointwise"))) if draw.random() < often else ()
    return Call(("inspect", *options, *more, "--text", "Bake bread and wash up"))


def _task(draw: random.Random, folder: Path, world: World) -> Call:
    (folder / "task.toml").write_bytes(inputs.mutated(draw, inputs.PACK.read_bytes(), ".toml"))
    return _inspect(draw, world, "--labels", world.labels, "--task", str(folder))


def _frozen(draw: random.Random, folder: Path, world: World) -> Call:
    program = folder / "program"
    shutil.copytree(world.program, program)
    path = draw.choice(sorted(program.iterdir()))
    content = inputs.mutated(draw, path.read_bytes(), path.suffix)
    kind = draw.random()
    if kind < 0.4:
        path.unlink()
    if 0.2 < kind < 0.4:
        path.symlink_to(draw.choice((Path("/dev/zero"), folder / "gone", folder)))
    elif kind > 0.4:
        draw.choice((path, path, path, program / "x.pkl")).write_bytes(content)
    if draw.random() < 0.4 and (program / "SHA256SUMS").is_file():  # as an attacker does, too
        own = [p for p in program.iterdir() if p.name != "SHA256SUMS" and p.is_file() and not p.is_symlink()]
        (program / "SHA256SUMS").write_bytes(sums_of({p.name: p.read_bytes() for p in own}))
    if draw.random() < 0.5:
        return Call(("show", str(program)))
    return _inspect(draw, world, "--program", str(program))


def _run(draw: random.Random, folder: Path, world: World) -> Call:
    path = folder / "earlier.json"
    path.write_bytes(inputs.mutated(draw, world.run.read_bytes(), ".json"))
    return Call(("eval", "--labels", world.labels, "--gold", world.texts, "--compare", str(path)))


def _arguments(draw: random.Random, folder: Path, world: World) -> Call:
    """Options with odd values; none names a place that a connection could go to."""
    odd = ("", ".", "-", "/dev/null", "/dev/full", "/", "x" * 5_000, "\udcff", "9" * 21, "-1", "nan")
    given = {"--labels": world.labels, "--input": world.texts, "--output": "out.jsonl", "--top-k": "3"}
    more = "--fields --lm --rank-lm --task --language --hierarchy --program --summary --rank-method".split()
    for _ in range(draw.randint(1, 2)):
        given[draw.choice((*given, *more))] = draw.choice((*odd, inputs.string(draw))).replace("\0", "")
    if draw.random() < 0.15:
        urls = ("http://127.0.0.1:abc/v1", "http://[::1/v1", "ftp://127.0.0.1", "127.0.0.1", "", "http://")
        given |= {"--lm": "openai/any", "--api-base": draw.choice(urls)}
    return Call(("classify", *(part for pair in given.items() for part in pair)))


Target = Callable[[random.Random, Path, World], Call]
# Each target and how often it is drawn.
TARGETS: dict[str, tuple[Target, int]] = {
    "labels": (_labels, 30),
    "skos": (_skos, 18),
    "texts": (_texts, 26),
    "task": (_task, 7),
    "frozen": (_frozen, 8),
    "runs": (_run, 4),
    "server": (lambda draw, _, world: _inspect(draw, world, "--labels", world.labels, often=1), 4),
    "arguments": (_arguments, 3),
}


class DrawnServer(http.server.BaseHTTPRequestHandler):
    """A model server whose answers are drawn: right, odd, torn, or none at all."""

    draw = random.Random()

    def do_POST(self) -> None:
        """Answers any path."""
        draw = self.draw
        self.rfile.read(int(self.headers["content-length"] or 0))
        good = draw.choice(({"terms": ["bread"]}, {"ranking": [2, 1, 3]}))
        content = draw.choice(
            (json.dumps(good), json.dumps(inputs.respelled(draw, good)), inputs.value(draw))
        )
        answer: Any = {
            "choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 3},
        }
        body = inputs.mutated(draw, json.dumps(answer).encode(), ".json")
        if draw.random() < 0.05:
            return
        self.send_response(draw.choice((200,) * 12 + (400, 401, 404, 500)))
        self.send_header("retry-after", "0")
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def fuzzer(folder: Path, seed: int, keep: Path) -> Iterator[Callable[[int], Finding | None]]:
    """Yields what runs a case, in a folder of its own; the inputs of findings are copied to `keep`."""
    names = {"IRR_INDEX_FOLDER": "index", "TMPDIR": "tmp", "XDG_CACHE_HOME": "cache", "HOME": "cache"}
    shared = folder / "shared"
    for name in {*names.values(), "shared"}:
        (folder / name).mkdir()
    own = {key: str(folder / name) for key, name in names.items()}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), DrawnServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    labels, texts = shared / "labels.jsonl", shared / "texts.jsonl"
    labels.write_bytes(inputs.good("labels", ".jsonl"))
    texts.write_bytes(inputs.good("texts", ".jsonl"))
    world = World(str(labels), str(texts), shared / "program", shared / "run.json", server.server_port)
    guard, here = Guard(), Path.cwd()
    with (
        patch.dict(os.environ, {**own, "OPENAI_API_KEY": "sk-fuzzing-fuzzing", "HF_HUB_OFFLINE": "1"}),
        patch("irr.encoders.sentence_transformers.open_fast", lambda *_: HashEncoder()),
        patch("tempfile.tempdir", str(folder / "tmp")),
        patch("sys.dont_write_bytecode", True),  # a first import would write beside the sources
    ):
        freeze(build(labels), world.program)
        code, _, stderr = irr(
            ("eval", "--labels", str(labels), "--gold", str(texts), "--json", str(world.run))
        )
        assert code == 0, stderr
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + 2 * MOST_BYTES, resource.RLIM_INFINITY))

        def run(number: int) -> Finding | None:
            draw = random.Random(f"{seed} {number}")
            [target] = draw.choices(list(TARGETS), [weight for _, weight in TARGETS.values()])
            place = folder / "case"
            inside, out = place / "in", place / "out"
            for made in (inside, out):
                made.mkdir(parents=True)
            for bystander in (inside / "canary.txt", out / "keep.jsonl", out / "out.jsonl.old"):
                bystander.write_text("not yours", "utf-8")
            call = TARGETS[target][0](draw, inside, world)
            DrawnServer.draw = draw
            before = _contents(place)
            Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins anew
            writable = [out, *(folder / name for name in names.values())]
            os.chdir(out)
            with guard.watch(writable, inside / "canary.txt", world.port) as seen:
                broke = _broken(call, out)
            os.chdir(folder)
            after = _contents(place)
            changed = [f"touched {name}" for name in before if after.get(name) != before[name]]
            broke = broke or "; ".join(dict.fromkeys((*seen, *changed)))
            if broke:
                kept = keep / f"{seed}-{number}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(place, kept, symlinks=True)
            shutil.rmtree(place)
            return Finding(target, number, broke, call.arguments) if broke else None

        yield run
        os.chdir(here)
    server.shutdown()


def irr(arguments: Sequence[str], stdin: bytes = b"") -> tuple[int, str, str]:
    """Runs `irr ARGUMENTS` in this process with streams that are real files: exit code, stdout, stderr."""
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write(stdin)
        files[0].seek(0)
        for name, mode, file in zip(("stdin", "stdout", "stderr"), "rww", files, strict=True):
            stream = stack.enter_context(open(file.fileno(), mode, encoding="utf-8", closefd=False))
            stack.enter_context(patch(f"sys.{name}", stream))
        stack.enter_context(patch("sys.argv", ["irr", *arguments]))
        logging.getLogger().handlers.clear()  # those of the call before write to its stderr
        code: Any = 0
        try:
            main()
        except SystemExit as e:
            code = e.code
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        stdout, stderr = (_content(file) for file in files[1:])
    return int(code or 0), stdout, stderr


def _content(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode("utf-8"))


def _broken(call: Call, out: Path) -> str:
    """The promise that a call breaks by its exit code, time, memory, what it prints and what it writes."""

    def stop(*_: object) -> NoReturn:
        raise TimeoutError(f"more than {_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    try:
        code, stdout, stderr = irr(call.arguments, call.stdin)
    except BaseException as e:
        return f"{type(e).__name__}: " + "".join(traceback.format_exception(e))[-1_500:]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    if code not in (0, 1, 2) or "Traceback" in stderr:
        return f"exit code {code}: {stderr[-1_500:]}"
    if wild := _PRINTED.search(stderr):
        return (
            f"prints {wild.group()!r} to a terminal: {stderr[max(0, wild.start() - 80) : wild.end() + 20]!r}"
        )
    if code == 2 and not stderr.strip():
        return "exit code 2 without a word"
    status = Path("/proc/self/status").read_text()
    if (peak := int(status.split("VmHWM:")[1].split()[0]) * 1_024) > MOST_BYTES:
        return f"{peak / 2**20:.0f} MiB"
    rows = stdout if ("--output", "-") in pairwise(call.arguments) else ""
    return _bad_rows(rows, out / "out.jsonl") if call.arguments[0] == "classify" else ""


def _bad_rows(stdout: str, path: Path) -> str:
    """What is wrong with the answers of `classify`: one is not JSON, or lacks a key."""
    for line in filter(None, (stdout + (path.read_text("utf-8") if path.is_file() else "")).split("\n")):
        try:
            row = json.loads(line, parse_constant=lambda name: json.loads(f"{name}!"))
        except ValueError:
            return f"writes a row that is not JSON: {line[:200]!r}"
        if not {"id", "labels", "error"} <= row.keys():
            return f"writes a row without its keys: {line[:200]!r}"
    return ""


def _contents(place: Path) -> dict[str, str]:
    """Digests of everything that is not an output."""
    return {
        str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in place.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and not (path.parent.name == "out" and path.name.startswith("out") and path.suffix != ".old")
    }


def work(numbers: Sequence[int], seed: int, results: Connection) -> None:
    """Runs cases in a process of its own, and sends what each came to."""
    with tempfile.TemporaryDirectory(prefix="irr-fuzz-") as folder, fuzzer(Path(folder), seed, _KEPT) as run:
        for number in numbers:
            results.send(run(number))
    results.close()
