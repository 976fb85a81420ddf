"""The rankings of the packs' texts with gold, kept in a folder so that each is made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from irr.calibrate.calibration import DEPTH
from irr.calibrate.fit import RankedText
from irr.io.texts import GoldRow, read_gold
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank, build
from irr.types import Trace


class Pack(NamedTuple):
    """A label space, the texts to calibrate on, which are its examples too, and sets of texts to test on."""

    folder: str
    dev: str
    tests: dict[str, str]


PACKS = (
    Pack("esco", "dev", {"house": "house_test", "tech": "tech_test", "techwolf": "techwolf_test"}),
    Pack("attack", "annoctr_dev", {"annoctr": "annoctr_test"}),
    Pack("attack", "dev", {"tram": "test"}),
    Pack("icd10", "dev", {"icd10": "test"}),
    Pack("clinc150", "dev", {"clinc150": "test"}),
)


class Ranker:
    """The program of a pack, built when it is first asked for, and its rankings.

    Args:
        pack: The pack.
        data: The folder of all packs.
        limit: Only the first texts of each set.
        kept: A folder where rankings are looked up and put; None makes all of them.
    """

    def __init__(self, pack: Pack, data: Path, limit: int | None, kept: Path | None) -> None:
        self._pack = pack
        self._folder = data / pack.folder
        self._limit = limit
        self._kept = kept

    @cached_property
    def space(self) -> LabelSpace:
        """The label space."""
        return LabelSpace.read(self._folder / "labels.jsonl")

    @cached_property
    def program(self) -> InferRetrieveRank:
        """The program that has the dev texts as examples."""
        examples = [{"text": row.text, "labels": row.labels} for row in self.rows(self._pack.dev)]
        return build(self.space, examples=examples)

    def rows(self, name: str) -> list[GoldRow]:
        """The texts of a set."""
        return read_gold(self._folder / f"{name}.jsonl", self.space)[: self._limit]

    def dev(self) -> list[RankedText]:
        """The rankings of the dev texts, each without its own example."""
        return self._found(self._pack.dev, lambda: self.program.leaving_examples_out())

    def test(self, name: str) -> list[RankedText]:
        """The rankings of a test set."""
        return self._found(self._pack.tests[name], lambda: self.program)

    def _found(self, name: str, program: Callable[[], InferRetrieveRank]) -> list[RankedText]:
        limit = "" if self._limit is None else f"_{self._limit}"
        path = self._kept / f"{self._pack.folder}_{name}{limit}.npz" if self._kept else None
        if path and path.exists():
            return _read(path)
        found = _rankings(program(), self.rows(name))
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, found)
        return found


def traces(program: InferRetrieveRank, texts: Sequence[str]) -> list[Trace | None]:
    """The trace of each text."""
    return [prediction.trace for prediction in program.batch(texts, DEPTH, trace=True)]


def _rankings(program: InferRetrieveRank, rows: Sequence[GoldRow]) -> list[RankedText]:
    """Those of the texts that have gold and an answer."""
    judged = [row for row in rows if row.labels]
    answers = traces(program, [row.text for row in judged])
    found = [RankedText.of(t, row.labels) for t, row in zip(answers, judged, strict=True) if t]
    return [one for one in found if len(one.features)]


def _write(path: Path, rankings: Sequence[RankedText]) -> None:
    np.savez_compressed(
        path,
        lengths=np.array([len(one.right) for one in rankings]),
        features=np.concatenate([one.features for one in rankings]),
        right=np.concatenate([one.right for one in rankings]),
        profile=np.array([one.profile for one in rankings]),
        gold=np.array([one.gold for one in rankings]),
    )


def _read(path: Path) -> list[RankedText]:
    with np.load(path) as kept:
        ends = np.cumsum(kept["lengths"])[:-1]
        features, right = np.split(kept["features"], ends), np.split(kept["right"], ends)
        profiles, gold = kept["profile"], kept["gold"]
    return [RankedText(f, p, r, int(g)) for f, p, r, g in zip(features, profiles, right, gold, strict=True)]
