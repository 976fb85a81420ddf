"""Tables through the batch: in and out, stopped and gone on with, and files that hold no texts."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import openpyxl
import pyarrow.parquet as pq
import pytest

from irr.batch import Job, Tally, local, run
from irr.errors import TextsError, UsageError
from irr.io.columns import Columns
from irr.io.streams import _zstd
from irr.program.program import InferRetrieveRank
from tests.support import Irr, read_jsonl

COLUMNS = Columns.parse("id=Signatur,text=Zusammenfassung")
TEXTS = ["We bake bread", "clean plates", "", "=SUM(A1)", "order supplies"] * 20


@pytest.fixture
def abstracts(tmp_path: Path) -> Path:
    path = tmp_path / "abstracts.csv"
    rows = [f'{n};"{text}";Müller\r\n' for n, text in enumerate(TEXTS)]
    path.write_bytes(("Signatur;Zusammenfassung;Autor\r\n" + "".join(rows)).encode("cp1252"))
    return path


def classify(program: InferRetrieveRank, job: Job, stop_after: int = 10**9) -> Tally:
    def watch(tally: Tally, _share: float | None) -> None:
        if tally.texts == stop_after:
            raise KeyboardInterrupt

    return run(job, lambda: program, local(job), watch)


def answers(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".xlsx":
        header, *rows = openpyxl.load_workbook(path).active.iter_rows(values_only=True)
        return [dict(zip(header, row, strict=True)) for row in rows]
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ";"))


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.xlsx", "out.parquet"])
def test_a_table_that_was_stopped_goes_on_and_has_one_row_for_each(
    program: InferRetrieveRank, tmp_path: Path, abstracts: Path, name: str
) -> None:
    job = Job(str(abstracts), str(tmp_path / name), top_k=2, columns=COLUMNS)
    with pytest.raises(KeyboardInterrupt):
        classify(program, job, stop_after=30)
    assert not Path(job.output).exists()
    tally = classify(program, job)
    assert (tally.texts, tally.errors) == (100, 20)
    plain = Job(str(abstracts), str(tmp_path / "out.jsonl"), top_k=2, columns=COLUMNS)
    classify(program, plain)
    expected, rows = read_jsonl(Path(plain.output)), answers(tmp_path / name)
    assert [row["id"] for row in rows] == [row["id"] for row in expected]
    for row, same in zip(rows, expected, strict=True):
        ids = [label["id"] for label in same["labels"]]
        assert (row["labels"] or "") == (ids if name == "out.parquet" else "|".join(ids)) or not ids
        assert row["Autor"] == "Müller"
        assert bool(row["error"]) == bool(same["error"])
    assert classify(program, job) == tally  # complete: nothing to do
    abstracts.write_bytes(abstracts.read_bytes().replace(b"We bake", b"We fry"))
    with pytest.raises(Exception, match="another input"):
        classify(program, job)


def test_a_text_that_looks_like_a_formula_stays_text(
    program: InferRetrieveRank, tmp_path: Path, abstracts: Path
) -> None:
    source = tmp_path / "t.jsonl"
    source.write_text('{"id": "=1+1", "text": "bake", "note": "\\u0001=2"}\n')
    classify(program, Job(str(source), str(tmp_path / "o.xlsx")))
    cell = openpyxl.load_workbook(tmp_path / "o.xlsx").active["A2"]
    assert (cell.value, cell.data_type) == ("=1+1", "s")


def test_a_cell_that_excel_cannot_hold_is_cut_and_said(
    program: InferRetrieveRank, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "t.jsonl"
    source.write_text(json.dumps({"id": "a", "text": "bake", "note": "x" * 40_000}) + "\n")
    classify(program, Job(str(source), str(tmp_path / "o.xlsx")))
    header, row = openpyxl.load_workbook(tmp_path / "o.xlsx").active.values
    assert len(row[header.index("note")]) == 32_767
    assert "o.xlsx: 1 cells were cut at 32,767 characters" in caplog.text


def test_ids_that_are_numbers_come_back_as_they_came(program: InferRetrieveRank, tmp_path: Path) -> None:
    source = tmp_path / "t.jsonl"
    source.write_text('{"id": 1, "text": "bake"}\n{"id": "1", "text": "bake"}\n')
    assert classify(program, Job(str(source), str(tmp_path / "o.jsonl"))).errors == 0
    assert [row["id"] for row in read_jsonl(tmp_path / "o.jsonl")] == [1, "1"]


@pytest.mark.parametrize("name", ["t.jsonl.zst", "t.jsonl"])
def test_a_file_of_something_else_ends_the_call_at_once(
    program: InferRetrieveRank, tmp_path: Path, name: str
) -> None:
    source = tmp_path / name
    content = b"x\n" * 100_000
    source.write_bytes(_zstd().compress(content) if name.endswith("zst") else content)
    with pytest.raises(TextsError, match="none of the first 20 rows can be read; row 1: not JSON"):
        classify(program, Job(str(source), str(tmp_path / "o.jsonl")))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["t.jsonl.zst", "t.jsonl.gz", "t.jsonl", "t.csv"])
def test_a_short_file_of_something_else_leaves_no_output(
    irr: Irr, labels_file: Path, tmp_path: Path, name: str
) -> None:
    noise = bytes(range(256)) * 2
    source = tmp_path / name
    source.write_bytes(
        {
            "t.jsonl.zst": _zstd().compress(noise),
            "t.jsonl.gz": gzip.compress(noise),
            "t.jsonl": b"hello\nworld\n",
            "t.csv": b"id,text\n1,a,b,c\n2,d,e,f\n",
        }[name]
    )
    before = sorted(tmp_path.iterdir())
    result = irr("classify", "--labels", labels_file, "--input", source, "--output", tmp_path / "o.jsonl")
    assert result.returncode == 2
    assert f"irr: {source}: none of its rows can be read; row" in result.stderr.splitlines()[-1]
    assert sorted(tmp_path.iterdir()) == before


def test_a_short_file_of_json_objects_gets_a_row_for_each(program: InferRetrieveRank, tmp_path: Path) -> None:
    source = tmp_path / "t.jsonl"
    source.write_text('{"text": "no id"}\n{"id": 1}\n')
    assert classify(program, Job(str(source), str(tmp_path / "o.jsonl"))).errors == 2


def test_a_table_is_not_answered_again_in_part(
    program: InferRetrieveRank, tmp_path: Path, abstracts: Path
) -> None:
    job = Job(str(abstracts), str(tmp_path / "o.csv"), retry_errors=True, columns=COLUMNS)
    with pytest.raises(UsageError, match="JSONL outputs only"):
        classify(program, job)
