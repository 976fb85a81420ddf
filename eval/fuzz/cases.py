"""Runs cases in this process and says which promise one broke."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

from eval.fuzz.guard import Guard
from eval.fuzz.server import DrawnServer, drawn_server
from eval.fuzz.targets import KITCHEN, TARGETS, Case, World
from tests.doubles.hash_encoder import HashEncoder
from tests.support import run_here, write_jsonl

MOST_BYTES = 2 * 2**30
_SECONDS = 60
_HUB = "huggingface.co"
# Of what reaches a terminal, nothing else than printable text and line ends.
_PRINTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Finding:
    """A promise that a case broke.

    Attributes:
        target: What was fuzzed.
        number: Which case of it.
        broke: What happened.
        call: The command's arguments.
    """

    target: str
    number: int
    broke: str
    call: tuple[str, ...]


class _TooSlow(BaseException):
    pass


class Fuzzer:
    """Runs cases one by one; each is known by the seed, its target and its number.

    Args:
        folder: Where everything is written.
        seed: What all inputs are drawn from.
        guard: Watches this process.
        server: Answers as a language model.
        keep: Where the inputs of a case that broke a promise are kept; nowhere if None.
    """

    def __init__(self, folder: Path, seed: int, guard: Guard, server: DrawnServer, keep: Path | None) -> None:
        self._folder, self._seed, self._guard, self._server, self._keep = folder, seed, guard, server, keep
        self._shared = folder / "shared"
        self._shared.mkdir()
        labels = write_jsonl(
            self._shared / "labels.jsonl", ({**row, "id": str(row["id"])} for row in KITCHEN)
        )
        texts = write_jsonl(
            self._shared / "texts.jsonl",
            (
                {"id": str(i), "text": row["name"], "labels": [str(row["id"])]}
                for i, row in enumerate(KITCHEN)
            ),
        )
        program, run = self._shared / "program", self._shared / "run.json"
        from irr import freeze
        from irr.program.program import build

        freeze(build(labels), program)
        made = run_here(["eval", "--labels", str(labels), "--gold", str(texts), "--json", str(run)])
        assert made.returncode == 0, made.stderr
        self._world = World(labels, texts, program, run, server.port)

    def run(self, target: str, number: int) -> Finding | None:
        """Draws a case, runs it, and returns the first promise that it broke."""
        draw = random.Random(f"{self._seed} {target} {number}")
        place = self._folder / "case"
        here, out = place / "in", place / "out"
        for folder in (here, out):
            folder.mkdir(parents=True)
        for bystander in (
            here / "canary.txt",
            out / "keep.jsonl",
            out / "out.jsonl.old",
            out / "program.part",
        ):
            bystander.write_text("not yours", "utf-8")
        case = TARGETS[target][0](draw, here, self._world)
        self._server.draw = draw
        before = _contents(place)
        broke = self._call(case, out, here / "canary.txt") or _touched(before, _contents(place))
        if broke and self._keep:
            kept = self._keep / f"{target.replace(' ', '-')}-{self._seed}-{number}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(place, kept, symlinks=True)
        shutil.rmtree(place)
        return Finding(target, number, broke, case.arguments) if broke else None

    def _call(self, case: Case, out: Path, secret: Path) -> str | None:
        writable = [out, self._folder / "index", self._folder / "tmp", self._folder / "cache"]
        _reset_peak()
        os.chdir(out)
        with (
            self._guard.watch(writable, secret, self._server.port if case.served else None) as found,
            _limited(),
        ):
            try:
                done = run_here(case.arguments, case.stdin)
            except BaseException as e:
                return f"{type(e).__name__}: " + "".join(traceback.format_exception(e))[-1_500:]
            finally:
                os.chdir(self._folder)
        if done.returncode not in (0, 1, 2):
            return f"exit code {done.returncode}"
        if "Traceback" in done.stderr:
            return "a traceback: " + done.stderr[-1_500:]
        if wild := _PRINTED.search(done.stderr):
            around = done.stderr[max(0, wild.start() - 80) : wild.end() + 20]
            return f"prints {wild.group()!r} to a terminal: {around!r}"
        if done.returncode == 2 and not done.stderr.strip().splitlines()[-1:]:
            return "exit code 2 without a word"
        if "--encoder" in case.arguments:  # asks for a model of the hub by its name
            found = [what for what in found if what != f"looks up {_HUB}"]
        if found:
            return "; ".join(dict.fromkeys(found))
        if (peak := _peak()) > MOST_BYTES:
            return f"{peak / 2**20:.0f} MiB"
        rows_on_stdout = ("--output", "-") in pairwise(case.arguments)
        return _bad_rows(done.stdout if rows_on_stdout else "", out / "out.jsonl", case.arguments[0])


def _bad_rows(stdout: str, path: Path, command: str) -> str | None:
    """What is wrong with the answers of `classify`: one is no JSON, or lacks a key."""
    if command != "classify":
        return None
    lines = stdout.split("\n") + (path.read_text("utf-8").split("\n") if path.is_file() else [])
    for line in filter(None, lines):
        try:
            row = json.loads(line, parse_constant=_no_json)
        except ValueError:
            return f"writes a row that is no JSON: {line[:200]!r}"
        if not {"id", "labels", "error"} <= row.keys():
            return f"writes a row without its keys: {line[:200]!r}"
    return None


def _no_json(name: str) -> NoReturn:
    raise ValueError(name)


def _contents(place: Path) -> dict[str, str]:
    """Digests of everything that is not an output."""
    return {
        str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in place.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and not (path.parent.name == "out" and path.name.startswith("out") and not path.name.endswith(".old"))
    }


def _touched(before: dict[str, str], after: dict[str, str]) -> str | None:
    changed = sorted(name for name in before if after.get(name) != before[name])
    return f"touched {', '.join(changed)}" if changed else None


@contextmanager
def _limited() -> Iterator[None]:
    """Ends a case that takes too long."""

    def stop(*_: object) -> NoReturn:
        raise _TooSlow(f"more than {_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1_024


@contextmanager
def fuzzer(folder: Path, seed: int, keep: Path | None = None) -> Iterator[Fuzzer]:
    """A fuzzer in a folder of its own; encodes by hashing words, so that the readers are what takes time."""
    names = {"IRR_INDEX_FOLDER": "index", "TMPDIR": "tmp", "XDG_CACHE_HOME": "cache", "HOME": "cache"}
    for name in set(names.values()):
        (folder / name).mkdir()
    environment = {key: str(folder / name) for key, name in names.items()}
    here = Path.cwd()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with (
        patch.dict(
            os.environ, {**environment, "OPENAI_API_KEY": "sk-fuzzing-fuzzing", "HF_HUB_OFFLINE": "1"}
        ),
        patch("irr.encoders.sentence_transformers.open_fast", lambda *_: HashEncoder()),
        patch("tempfile.tempdir", str(folder / "tmp")),
        # A first import would write beside the sources.
        patch("sys.dont_write_bytecode", True),
        drawn_server() as server,
    ):
        resource.setrlimit(resource.RLIMIT_AS, (_mapped() + 2 * MOST_BYTES, hard))
        try:
            yield Fuzzer(folder, seed, _guard(), server, keep)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
            os.chdir(here)


def _mapped() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


_GUARDS: list[Guard] = []


def _guard() -> Guard:
    _GUARDS[:] = _GUARDS or [Guard()]
    return _GUARDS[0]
