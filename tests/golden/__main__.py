"""Renews the golden answers: `make golden`; of the data sets where IRR_DATA or ../shared/data is."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.program.spec import ALGORITHM
from tests.golden.cases import FILES, Case, data_folder, pack_cases, written_cases
from tests.support import write_jsonl


def renew(path: Path, cases: Iterable[tuple[str, Case]]) -> None:
    """Computes the answers and writes them, a text a row."""
    rows = [
        {"algorithm": ALGORITHM, "case": name, "input": case.input, "labels": labels}
        for name, case in cases
        for labels in case.answers()
    ]
    write_jsonl(path, rows)
    print(f"{path}: the answers to {len(rows)} texts", file=sys.stderr)


if __name__ == "__main__":
    encoder = SentenceEncoder()
    with tempfile.TemporaryDirectory() as folder:
        renew(FILES["written"], written_cases(encoder, Path(folder)))
        if data := data_folder():
            renew(FILES["packs"], pack_cases(data, encoder, Path(folder)))
        else:
            print(f"{FILES['packs']} stays as it is: no data folder", file=sys.stderr)
