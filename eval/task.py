"""Benchmark tasks: declarative files that say which labels and texts, and what others scored on them."""

from __future__ import annotations

import hashlib
import tomllib
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from irr.errors import InputError, UsageError
from irr.io.outputs import replace_file
from irr.io.texts import GoldRow, read_gold
from irr.labels.space import LabelSpace

FOLDER = Path(__file__).parent / "tasks"
Split = Literal["test", "dev"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataFile(_Strict):
    """A file of a task.

    Attributes:
        path: Where it stands in the data folder.
        sha256: What it must be; anything goes if None.
        url: Its public home, from where it is fetched if it is not in the folder; needs `sha256`.
    """

    path: str
    sha256: str | None = None
    url: str | None = None


class Published(_Strict):
    """What another system scored, by its authors' account: percent, by metric, and where that stands."""

    system: str
    url: str
    scores: dict[str, float]


class Task(_Strict):
    """A task.

    Attributes:
        name: How it is called on the command line.
        title: How tables call it.
        about: What goes into what.
        source: Where its data comes from.
        licence: Of the data.
        prompts: The task pack for language models.
        loader: What reads it: the files named here, or code for data of another form.
        labels: The label file.
        test: Texts with gold.
        dev: Others, to develop with.
        published: What others scored on `test`.
    """

    name: str
    title: str
    about: str
    source: str
    licence: str
    prompts: str = "default"
    loader: Literal["files", "trove", "biodex"] = "files"
    labels: DataFile | None = None
    test: DataFile | None = None
    dev: DataFile | None = None
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """A task's data: its label space, its texts, and a SHA-256 over both."""

    space: LabelSpace
    rows: list[GoldRow]
    digest: str


def task_names() -> list[str]:
    """The tasks that come with the benchmarks."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_task(name: str) -> Task:
    """Reads a task by its name, or a task file of the user's own by its path.

    Raises:
        UsageError: If there is none of that name.
        InputError: If the file is none.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        fields = tomllib.loads(path.read_text("utf-8"))
        return Task.model_validate({"name": path.stem, **fields})
    except FileNotFoundError as e:
        hint = f"name a task file, or one of {', '.join(task_names())}"
        raise UsageError(f'no task "{name}"', hint) from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise InputError(path, f"not TOML ({e})", "correct it") from e
    except ValidationError as e:
        where = ".".join(str(part) for part in e.errors()[0]["loc"])
        raise InputError(path, f'"{where}": {e.errors()[0]["msg"]}', "correct it") from e


def load_data(task: Task, split: Split, data: Path | None) -> Loaded:
    """Loads a task's labels and texts.

    Args:
        task: The task.
        split: Which texts.
        data: The folder that the task's files stand in; `trove` needs none.

    Raises:
        UsageError: If the folder or the split is missing.
        InputError: If a file is missing, or not the one that the task is about.
    """
    from eval import loaders

    match task.loader:
        case "trove":
            space, rows = loaders.trove(split)
        case "biodex":
            space, rows = loaders.biodex(_folder(task, data) / "biodex", split)
        case "files":
            gold = task.test if split == "test" else task.dev
            if task.labels is None or gold is None:
                raise UsageError(f'task "{task.name}" has no {split} set', "choose the other --split")
            folder = _folder(task, data)
            space = LabelSpace.read(_place(task, task.labels, folder))
            rows = read_gold(_place(task, gold, folder), space)
    digest = hashlib.sha256(space.fingerprint.encode())
    for row in rows:
        digest.update(row.model_dump_json(include={"id", "text", "labels"}).encode())
    return Loaded(space, rows, digest.hexdigest())


def _folder(task: Task, data: Path | None) -> Path:
    if data is None:
        raise UsageError(f'task "{task.name}" needs data', f"give --data FOLDER; from: {task.source}")
    return data


def _place(task: Task, file: DataFile, folder: Path) -> Path:
    path = folder / file.path
    if not path.exists() and file.url and file.sha256:
        path = _fetched(file, file.url)
    if not path.exists():
        raise InputError(path, "no such file", f"put it there; from: {task.source}")
    if file.sha256 and _sha256(path) != file.sha256:
        hint = "take that version, or a task file of your own without the checksum"
        raise InputError(path, f'is not the file of task "{task.name}" (SHA-256 differs)', hint)
    return path


def _fetched(file: DataFile, url: str) -> Path:
    from platformdirs import user_cache_path

    path = user_cache_path("irr", appauthor=False) / "eval" / f"{file.sha256}{Path(file.path).suffix}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                content = response.read()
        except OSError as e:
            raise InputError(url, f"cannot be fetched ({e})", f"put the file at {file.path}") from e
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise InputError(url, "is not what the task names (SHA-256 differs)", "correct the task")
        with replace_file(path) as out:
            out.write(content.decode("utf-8"))
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
