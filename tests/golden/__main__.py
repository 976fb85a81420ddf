"""Renews the golden answers: `make golden`; those of data sets that are missing stay as they are."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.program.spec import ALGORITHM
from tests.golden.cases import COPIED, FILES, PACKS, Case, data_folder, pack_case, written_cases
from tests.support import read_jsonl, write_jsonl


def rows_of(cases: Iterable[tuple[str, Case]]) -> list[Mapping[str, Any]]:
    """The answers of the cases, a text a row."""
    return [
        {"algorithm": ALGORITHM, "case": name, "input": case.input, "labels": labels}
        for name, case in cases
        for labels in case.answers()
    ]


if __name__ == "__main__":
    encoder = SentenceEncoder()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_jsonl(FILES["written"], rows_of(written_cases(encoder, folder)))
        data = data_folder()
        there = [*(PACKS if data else ()), *COPIED]
        kept = [row for row in read_jsonl(FILES["packs"]) if row["case"] not in there]
        new = rows_of((name, pack_case(name, data or folder, encoder, folder)) for name in there)
        write_jsonl(FILES["packs"], [*kept, *new])
    if not data:
        print(f"the answers of {', '.join(PACKS)} stay as they are: no data folder", file=sys.stderr)
