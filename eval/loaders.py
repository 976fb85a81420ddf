"""Readers of data that has a form of its own: PyPI packages of this environment, and BioDEX."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval.demo import declared_by, installed, labels_of, text_of
from irr.errors import InputError, MissingExtraError, TextsError
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace


def trove(split: str) -> tuple[LabelSpace, list[GoldRow]]:
    """The packages installed here and the 896 classifiers: half of the packages tell the priors."""
    packages = [package for package in installed() if declared_by(package)]
    history, rest = packages[::2], packages[1::2]
    rows = [
        GoldRow(id=p.name, text=text_of(p), labels=tuple(declared_by(p)))
        for p in (rest if split == "test" else history)
    ]
    return LabelSpace(labels_of(history)), rows


def biodex(folder: Path, split: str) -> tuple[LabelSpace, list[GoldRow]]:
    """BioDEX-Reactions: articles and their reactions, all MedDRA terms as labels, priors from train.

    A reaction that is no term is left out; a text without any that is has no gold.

    Raises:
        InputError: If a file is missing or has another form.
    """
    terms = folder / "reaction_terms.txt"
    if not terms.exists():
        raise InputError(terms, "no such file", "put all MedDRA terms there, one a line")
    names = list(dict.fromkeys(t.strip() for t in terms.read_text("utf-8").splitlines() if t.strip()))
    known = set(names)
    train = [reactions for _, reactions in _articles(folder, "train")]
    times = Counter(term for reactions in train for term in set(reactions))
    space = LabelSpace(
        {"id": name, "name": name, "prior": times[name] / len(train) if train else None} for name in names
    )
    rows = []
    part = "test" if split == "test" else "validation"
    for number, (text, reactions) in enumerate(_articles(folder, part)):
        labels = tuple(dict.fromkeys(term for term in reactions if term in known))
        rows.append(GoldRow(id=f"{part}-{number}", text=text, labels=labels))
    if not rows:
        raise TextsError(folder, f"holds no {part}.jsonl and no {part}*.parquet", "put one there")
    return space, rows


def _articles(folder: Path, part: str) -> Iterator[tuple[str, list[str]]]:
    """The text and the reactions of each article; those are one string, split at commas."""
    for row in _records(folder, part):
        try:
            text, reactions = str(row["fulltext_processed"]), str(row["reactions"])
        except KeyError as e:
            hint = "take the BioDEX-Reactions data set"
            raise TextsError(folder, f"{part} has no {e}", hint) from e
        yield text, [reaction.strip() for reaction in reactions.split(",")]


def _records(folder: Path, part: str) -> Iterator[dict[str, Any]]:
    lines = folder / f"{part}.jsonl"
    if lines.exists():
        with lines.open(encoding="utf-8") as file:
            yield from map(json.loads, file)
        return
    tables = sorted(folder.glob(f"{part}*.parquet"))
    if tables:
        try:
            import pyarrow.parquet
        except ImportError as e:
            raise MissingExtraError("reading .parquet needs pyarrow", "pip install pyarrow") from e
        for path in tables:
            yield from pyarrow.parquet.read_table(path, columns=_COLUMNS).to_pylist()


_COLUMNS = ["fulltext_processed", "reactions"]
