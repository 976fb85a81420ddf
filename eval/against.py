"""This version against another checkout: start, speed and index builds, in alternating rounds of one run.

    git worktree add OTHER COMMIT
    python -m eval.against --other OTHER --data DIR --name against

Both run in this environment, as processes of the command line, each on an index folder of its own. From the
seconds of many texts those of one are subtracted, so that the start of a process does not count. Ratios are
of medians; the index of all ESCO names is built once by each. `--long` measures the long documents alone, in
seconds of the processor, for a machine that others use too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eval.record import record
from tests.support import read_jsonl, write_jsonl

ROUNDS, TEXTS, LONG_TEXTS, CHARACTERS, LABELS = 3, 100, 6, 8_000, 3_000
_LOADED = """
import sys, time
start = time.perf_counter()
import irr
if sys.argv[1] == "freeze":
    irr.freeze(irr.build(sys.argv[2], index_folder=sys.argv[4]), sys.argv[3])
else:
    irr.load(sys.argv[3], index_folder=sys.argv[4])("You will bake bread and clean the kitchen.")
    print(time.perf_counter() - start)
"""


class Version:
    """A checkout, and the folder that its indexes and outputs go to."""

    def __init__(self, checkout: Path, folder: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        self.folder = folder
        self._clock = clock
        self._checkout = checkout
        self._environment = {**os.environ, "PYTHONPATH": str(checkout)}
        folder.mkdir()

    def classify(self, labels: Path, texts: Path) -> float:
        """Seconds of a whole process, by the clock."""
        arguments: list[str | Path] = [
            "--labels",
            labels,
            "--input",
            texts,
            "--output",
            self.folder / "out.jsonl",
            "--restart",
        ]
        start = self._clock()
        self._run("-m", "irr", "classify", *arguments, "--index-folder", self.folder / "indexes")
        return self._clock() - start

    def freeze(self, labels: Path) -> float:
        """Seconds to freeze a program of these labels, whose index is built."""
        start = time.perf_counter()
        self._run("-c", _LOADED, "freeze", labels, self.folder / "program", self.folder / "indexes")
        return time.perf_counter() - start

    def loaded(self) -> float:
        """Seconds from the import to the first answer of the frozen program."""
        printed = self._run("-c", _LOADED, "load", "", self.folder / "program", self.folder / "indexes")
        return float(printed)

    def _run(self, *arguments: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=self._checkout,  # the first place that Python imports from
            env=self._environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(done.stderr)
        return done.stdout


def main() -> None:
    """Measures, prints and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--long", action="store_true", help="only the long documents, in processor seconds")
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clock = processor_seconds if arguments.long else time.perf_counter
        here = Version(Path(__file__).parent.parent, Path(folder) / "here", clock)
        other = Version(arguments.other.resolve(), Path(folder) / "other", clock)
        figures = compare(here, other, arguments.data, Path(folder), arguments.rounds, arguments.long)
    commit = subprocess.run(
        ["git", "-C", arguments.other, "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    figures["other"] = commit.stdout.strip()
    print(json.dumps(figures, indent=2))
    if arguments.name:
        record(arguments.name, figures)


def compare(
    here: Version, other: Version, data: Path, folder: Path, rounds: int, only_long: bool
) -> dict[str, Any]:
    """Medians of both versions, and the ratios of here to the other."""
    skills = read_jsonl(data / "esco" / "labels.jsonl")
    names = [{"id": skill["id"], "name": skill["name"]} for skill in skills]
    esco = write_jsonl(folder / "esco.jsonl", names)
    icd10 = write_jsonl(folder / "icd10.jsonl", read_jsonl(data / "icd10" / "labels.jsonl")[:LABELS])
    attack = data / "attack" / "labels.jsonl"
    sentences = texts_of(data / "esco" / "test.jsonl")[:TEXTS]
    short = texts_file(folder / "short.jsonl", sentences)
    one = texts_file(folder / "one.jsonl", sentences[:1])
    cases = texts_file(folder / "cases.jsonl", joined(texts_of(data / "icd10" / "dev.jsonl")))
    reports = texts_file(folder / "reports.jsonl", joined(texts_of(data / "attack" / "reports_dev.jsonl")))
    both = (here, other)
    seconds: dict[str, tuple[list[float], list[float]]] = {}

    def note(what: str, number: int, value: float) -> float:
        seconds.setdefault(what, ([], []))[number].append(value)
        return value

    for number, version in enumerate(both):
        version.classify(attack, one)  # the first use of a version may prepare the encoder
        if not only_long:
            note("build of the ESCO index", number, version.freeze(esco))
        version.classify(icd10, one)
    long = (("ICD-10 cases", icd10, cases), ("threat reports", attack, reports))
    for _ in range(rounds):
        for number, version in enumerate(both):
            if not only_long:
                start = note("second classify of one text", number, version.classify(esco, one))
                note("load to first answer", number, version.loaded())
                note(f"{TEXTS} ESCO sentences", number, version.classify(esco, short) - start)
            for what, labels, texts in long:
                base = version.classify(labels, one)
                took = version.classify(labels, texts) - base
                note(f"{LONG_TEXTS} {what} of {CHARACTERS} characters", number, took)
        print(json.dumps(seconds), file=sys.stderr, flush=True)
    medians = {what: [statistics.median(of) for of in pair] for what, pair in seconds.items()}
    return {
        "seconds": {what: {"here": pair[0], "other": pair[1]} for what, pair in medians.items()},
        "here_of_other": {what: pair[0] / pair[1] for what, pair in medians.items()},
        "times_as_fast": {what: pair[1] / pair[0] for what, pair in medians.items()},
    }


def processor_seconds() -> float:
    """Seconds of the processor in all processes that this one waited for, whoever else uses the machine."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def texts_of(file: Path) -> list[str]:
    """The texts of a file of gold."""
    return [row["text"] for row in read_jsonl(file)]


def joined(texts: Sequence[str]) -> list[str]:
    """Texts joined until each has the characters of a long document."""
    whole = "\n\n".join(texts)
    return [whole[start : start + CHARACTERS] for start in range(0, LONG_TEXTS * CHARACTERS, CHARACTERS)]


def texts_file(path: Path, texts: Sequence[str]) -> Path:
    """A file of texts to classify."""
    return write_jsonl(path, ({"id": f"{row}", "text": text} for row, text in enumerate(texts)))


if __name__ == "__main__":
    main()
