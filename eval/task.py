"""Benchmark tasks: declarative files that say which labels and texts, and what others scored on them."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from eval.demo import declared_by, installed, labels_of, text_of
from irr.errors import InputError, UsageError
from irr.io.texts import GoldRow, read_gold
from irr.labels.space import LabelSpace

FOLDER = Path(__file__).parent / "tasks"
Split = Literal["test", "dev"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataFile(_Strict):
    """A file of a task: its place in the data folder, and its checksum, if one is asked for."""

    path: str
    sha256: str | None = None


class Published(_Strict):
    """What another system scored, by its authors' account: percent, by metric, and where that stands."""

    system: str
    url: str
    scores: dict[str, float]


class Task(_Strict):
    """A task.

    Attributes:
        title: How tables call it.
        about: What goes into what.
        source: Where its data comes from.
        prompts: The task pack for language models.
        loader: Whether its data are the files named here, or the packages installed here.
        published: What others scored on `test`.
    """

    name: str
    title: str
    about: str
    source: str
    licence: str
    prompts: str = "default"
    loader: Literal["files", "trove"] = "files"
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
        InputError: If the file is not a task.
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
        InputError: If a file is missing, or has another checksum.
    """
    gold = task.test if split == "test" else task.dev
    if task.loader == "trove":
        space, rows = _trove(split)
    elif task.labels is None or gold is None:
        raise UsageError(f'task "{task.name}" has no {split} set', "choose the other --split")
    elif data is None:
        raise UsageError(f'task "{task.name}" needs data', f"give --data FOLDER; from: {task.source}")
    else:
        space = LabelSpace.read(_place(task, task.labels, data))
        rows = read_gold(_place(task, gold, data), space)
    digest = hashlib.sha256(space.fingerprint.encode())
    for row in rows:
        digest.update(row.model_dump_json(include={"id", "text", "labels"}).encode())
    return Loaded(space, rows, digest.hexdigest())


def _trove(split: Split) -> tuple[LabelSpace, list[GoldRow]]:
    """The packages installed here and the 896 classifiers: half of the packages tell the priors."""
    packages = [package for package in installed() if declared_by(package)]
    history, rest = packages[::2], packages[1::2]
    rows = [
        GoldRow(id=p.name, text=text_of(p), labels=tuple(declared_by(p)))
        for p in (rest if split == "test" else history)
    ]
    return LabelSpace(labels_of(history)), rows


def _place(task: Task, file: DataFile, folder: Path) -> Path:
    path = folder / file.path
    if not path.exists():
        raise InputError(path, "no such file", f"put it there; from: {task.source}")
    if file.sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
        hint = "take that version, or a task file of your own without the checksum"
        raise InputError(path, f'is not the file of task "{task.name}" (SHA-256 differs)', hint)
    return path
