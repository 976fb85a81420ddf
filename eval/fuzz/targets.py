"""What is fuzzed: for each reader, a call of a command on an input that is drawn."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eval.fuzz.damage import bomb, packed, torn
from eval.fuzz.rdf import RDF
from eval.fuzz.tables import LABELS, TABLES
from eval.fuzz.toml import toml
from eval.fuzz.values import label_rows, string, text_rows, value

KITCHEN = tuple(
    {"id": i, "name": name}
    for i, name in enumerate(("bake bread", "wash dishes", "cook meals", "plan menus"))
)


@dataclass(frozen=True)
class World:
    """What all cases of a process share.

    Attributes:
        labels: A good label file.
        texts: A good file of texts with gold.
        program: A frozen program.
        run: What `irr eval --json` wrote.
        port: Where the model server listens.
    """

    labels: Path
    texts: Path
    program: Path
    run: Path
    port: int


@dataclass(frozen=True)
class Case:
    """A call: arguments, what is on stdin, and whether it may connect to the model server."""

    arguments: tuple[str, ...]
    stdin: bytes = b""
    served: bool = False


Target = Callable[[random.Random, Path, World], Case]


def _file(draw: random.Random, folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Writes an input: as it is, torn, or packed."""
    kind = draw.random()
    if kind < 0.15:
        content = torn(draw, content)
    elif kind < 0.25:
        packing = draw.choice((".gz", ".zst"))
        suffix, content = suffix + packing, packed(draw, content, packing)
    elif kind < 0.252:
        packing = draw.choice((".gz", ".zst"))
        suffix, content = suffix + packing, bomb(packing, draw.choice((b"", content[:200])))
    path = folder / f"{stem}{suffix}"
    path.write_bytes(content)
    return path


def _labels(draw: random.Random, folder: Path, _world: World) -> Case:
    suffix = draw.choice(list(LABELS))
    path = _file(draw, folder, "labels", suffix, LABELS[suffix](draw, label_rows(draw)))
    return Case(("labels", str(path), "--output", "out.jsonl", "--json", "out.json"))


def _skos(draw: random.Random, folder: Path, _world: World) -> Case:
    suffix = draw.choice(list(RDF))
    path = _file(draw, folder, "labels", suffix, RDF[suffix](draw, label_rows(draw)))
    language = (
        ("--language", draw.choice(("en", "de,en", "", ",", string(draw)))) if draw.random() < 0.3 else ()
    )
    return Case(("labels", str(path), *language, "--output", "out.jsonl"))


def _classify_labels(draw: random.Random, folder: Path, world: World) -> Case:
    """Labels of every format all the way into an index, and out again beside answers."""
    suffix = draw.choice(list(LABELS))
    path = _file(draw, folder, "labels", suffix, LABELS[suffix](draw, label_rows(draw)))
    return Case(("classify", "--labels", str(path), "--input", str(world.texts), "--output", "out.jsonl"))


def _texts(draw: random.Random, folder: Path, world: World) -> Case:
    suffix = draw.choice((".jsonl", *TABLES))
    content = TABLES[suffix](draw, text_rows(draw))
    call = ("classify", "--labels", str(world.labels))
    if draw.random() < 0.1:
        return Case((*call, "--input", "-", "--output", "-"), stdin=content)
    path = _file(draw, folder, "texts", suffix, content)
    output = draw.choice(("out.jsonl",) * 4 + ("out.jsonl.gz", f"out{suffix}", "-"))
    return Case((*call, "--input", str(path), "--output", output))


def _gold(draw: random.Random, folder: Path, world: World) -> Case:
    suffix = draw.choice((".jsonl", *TABLES))
    rows = text_rows(draw, gold=True, labels=tuple(str(row["id"]) for row in KITCHEN))
    path = _file(draw, folder, "gold", suffix, TABLES[suffix](draw, rows))
    report = ("--report", "out.html") if draw.random() < 0.2 else ()
    return Case(("eval", "--labels", str(world.labels), "--gold", str(path), "--json", "out.json", *report))


def _task(draw: random.Random, folder: Path, world: World) -> Case:
    pack = folder / "pack"
    pack.mkdir()
    content = toml(draw)
    (pack / "task.toml").write_bytes(torn(draw, content) if draw.random() < 0.2 else content)
    return _inspected(draw, world, "--labels", str(world.labels), "--task", str(pack))


def _inspected(draw: random.Random, world: World, *options: str) -> Case:
    api_base = f"http://127.0.0.1:{world.port}/v1"
    models = ("--lm", "openai/any", "--api-base", api_base) if draw.random() < 0.3 else ()
    return Case(("inspect", *options, *models, "--text", "Bake bread and wash up"), served=bool(models))


def _server(draw: random.Random, folder: Path, world: World) -> Case:
    api_base = f"http://127.0.0.1:{world.port}/v1"
    models = ("--lm", "openai/any", "--api-base", api_base)
    method = draw.choice(((), ("--rank-method", "pointwise")))
    return Case(
        ("inspect", "--labels", str(world.labels), *models, *method, "--text", "Bake bread"), served=True
    )


def _frozen(draw: random.Random, folder: Path, world: World) -> Case:
    program = folder / "program"
    shutil.copytree(world.program, program)
    path = draw.choice(sorted(program.iterdir()))
    match draw.randrange(5):
        case 0:
            path.unlink()
        case 1:
            path.write_bytes(torn(draw, path.read_bytes()))
        case 2 if path.suffix == ".json":
            document = json.loads(path.read_text("utf-8"))
            _respell(draw, document)
            path.write_text(json.dumps(document), "utf-8")
        case 3:
            (program / draw.choice((".DS_Store", "sub", "x.pkl"))).write_bytes(b"\x80\x04.")
        case _:
            path.unlink()
            path.symlink_to(draw.choice((folder / "other.txt", Path("/dev/zero"), folder / "gone", folder)))
    if draw.random() < 0.4 and (program / "SHA256SUMS").is_file():
        _sum_again(program)
    if draw.random() < 0.5:
        return Case(("show", str(program)))
    return _inspected(draw, world, "--program", str(program))


def _respell(draw: random.Random, document: object) -> None:
    """Gives one place somewhere in a document another value."""
    while isinstance(document, dict | list) and document:
        key = draw.choice(list(document) if isinstance(document, dict) else range(len(document)))
        inner = document[key]
        if draw.random() < 0.4 or not isinstance(inner, dict | list) or not inner:
            document[key] = value(draw)
            return
        document = inner


def _sum_again(program: Path) -> None:
    """What an attacker does, too: the sums fit what stands there."""
    from irr.frozen.manifest import sums_of

    files = {
        p.name: p.read_bytes()
        for p in program.iterdir()
        if p.name != "SHA256SUMS" and not p.is_symlink() and p.is_file()
    }
    (program / "SHA256SUMS").write_bytes(sums_of(files))


def _run(draw: random.Random, folder: Path, world: World) -> Case:
    document = json.loads(world.run.read_text("utf-8"))
    for _ in range(draw.randrange(3)):
        _respell(draw, document)
    content = json.dumps(document).encode()
    shapes = (b"[" * 100_000, b'{"curve": [' + b"9" * 50_000 + b"]}", b"", b"null")
    if draw.random() < 0.3:
        content = draw.choice((torn(draw, content), *shapes))
    path = folder / "earlier.json"
    path.write_bytes(content)
    return Case(("eval", "--labels", str(world.labels), "--gold", str(world.texts), "--compare", str(path)))


def _arguments(draw: random.Random, folder: Path, world: World) -> Case:
    """Options with odd values; none names a place that a connection could go to."""
    odd = [
        "",
        ".",
        "..",
        "-",
        "/dev/null",
        "/dev/full",
        "/",
        "x" * 5_000,
        "\udcff",
        string(draw),
        "999999999999999999999",
        "-1",
        "nan",
    ]
    given = {
        "--labels": str(world.labels),
        "--input": str(world.texts),
        "--output": "out.jsonl",
        "--top-k": "3",
    }
    optional = (
        "--fields",
        "--encoder",
        "--lm",
        "--rank-lm",
        "--task",
        "--language",
        "--hierarchy",
        "--program",
        "--summary",
        "--rank-method",
    )
    urls = (
        "http://127.0.0.1:abc/v1",
        "http://[::1/v1",
        "ftp://127.0.0.1",
        "127.0.0.1",
        "",
        "http://",
        "http://\x00",
    )
    for _ in range(draw.randint(1, 2)):
        given[draw.choice((*given, *optional))] = draw.choice(odd).replace("\0", "")
    if draw.random() < 0.15:
        given |= {"--lm": "openai/any", "--api-base": draw.choice(urls).replace("\0", "")}
    return Case(("classify", *(part for pair in given.items() for part in pair)))


# Each target and how often it is drawn.
TARGETS: dict[str, tuple[Target, int]] = {
    "labels": (_labels, 22),
    "skos": (_skos, 18),
    "labels to answers": (_classify_labels, 8),
    "texts": (_texts, 18),
    "gold": (_gold, 8),
    "task": (_task, 7),
    "frozen": (_frozen, 8),
    "runs": (_run, 4),
    "server": (_server, 4),
    "arguments": (_arguments, 3),
}
