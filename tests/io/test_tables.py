"""Tables in: separators, encodings, columns and formats as people have them."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irr.errors import IrrError, LabelSpaceError, TextsError, UsageError
from irr.io.columns import Columns
from irr.io.records import open_rows
from irr.io.tables import detect_encoding
from irr.io.texts import TextRow, read_gold, read_rows
from irr.labels.space import LabelSpace

ROWS = [("1", "Brötchen backen", "Semmeln|Wecken", "0,5"), ("2", "Straße, und Wäsche", "", "")]


def excel_csv(encoding: str, separator: str = ";", header: str = "ID;Name;Aliases;Prior") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator)
    writer.writerow(header.split(";"))
    writer.writerows(ROWS)
    return out.getvalue().encode(encoding)


def save_xlsx(path: Path, rows: list[tuple[Any, ...]]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def check(space: LabelSpace) -> None:
    first, second = space
    assert (first.id, first.name, first.aliases) == ("1", "Brötchen backen", ("Semmeln", "Wecken"))
    assert first.prior == 0.5
    assert (second.id, second.name, second.aliases) == ("2", "Straße, und Wäsche", ())
    assert second.prior is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_what_excel_saves_is_read(tmp_path: Path, encoding: str, separator: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(excel_csv(encoding, separator))
    check(LabelSpace.read(path))


def test_tsv_xlsx_parquet_and_compressed_csv_hold_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(excel_csv("utf-8", "\t"))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(excel_csv("utf-8")))
    (tmp_path / "a.csv").write_bytes(b"sep=;\r\n" + excel_csv("utf-8"))
    rows = [(int(i), name, aliases or None, 0.5 if prior else None) for i, name, aliases, prior in ROWS]
    save_xlsx(tmp_path / "a.xlsx", [("Id", "NAME", "aliases", "prior"), *rows])
    lists = [{"id": r[0], "name": r[1], "aliases": (r[2] or "").split("|"), "prior": r[3]} for r in rows]
    for row in lists:
        row["aliases"] = [alias for alias in row["aliases"] if alias]
    pq.write_table(pa.Table.from_pylist(lists), tmp_path / "a.parquet")
    for name in ("a.tsv", "a.csv.gz", "a.csv", "a.xlsx", "a.parquet"):
        check(LabelSpace.read(tmp_path / name))


def test_columns_are_named_for_labels_and_texts_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels, texts = tmp_path / "labels.csv", tmp_path / "texts.csv"
    labels.write_bytes(excel_csv("cp1252", header="ID;Bezeichnung;Synonyme;Prior"))
    texts.write_bytes("Signatur;Zusammenfassung;Jahr\r\nA1;Wir backen.;2020\r\n".encode("cp1252"))
    columns = Columns.parse("id=Signatur,name=bezeichnung,aliases=Synonyme,text=Zusammenfassung")
    with caplog.at_level("INFO", "irr.io"):
        check(LabelSpace.read(labels, columns=columns))
    assert 'separator ";", encoding cp1252; columns id = ID, name = Bezeichnung' in caplog.text
    ((_, row),) = read_rows(texts, TextRow, columns)
    assert (row.id, row.text, row.model_extra) == ("A1", "Wir backen.", {"Jahr": "2020"})


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("id", "not FIELD=COLUMN"),
        ("title=x", 'no field "title"'),
        ("id=a,id=b", "given twice"),
    ],
)
def test_columns_that_are_no_list_are_refused(option: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Columns.parse(option)


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(excel_csv("cp1252", header="ID;Bezeichnung;Synonyme;Prior"))
    with pytest.raises(LabelSpaceError) as e:
        LabelSpace.read(path)
    assert 'no column "name"; the columns are "ID", "Bezeichnung"' in str(e.value)
    assert "name it in columns: name=" in str(e.value)
    with pytest.raises(LabelSpaceError, match='no column "Titel"'):
        LabelSpace.read(path, columns=Columns.parse("name=Titel"))


def test_ids_come_as_they_are(tmp_path: Path) -> None:
    path = save_xlsx(tmp_path / "t.xlsx", [("id", "text"), (7, "a"), ("007", "b"), (8.0, 5), (9, None)])
    rows = [row for _, row in read_rows(path, TextRow)]
    assert [row.id for row in rows] == [7, "007", 8, 9]
    assert [row.text for row in rows] == ["a", "b", "5", ""]
    jsonl = tmp_path / "t.jsonl"
    jsonl.write_text('{"id": 1, "text": "x"}\n{"id": "1", "text": "y"}\n')
    assert [row.id for _, row in read_rows(jsonl, TextRow)] == [1, "1"]
    jsonl.write_text('{"id": 1, "text": "x"}\n{"id": 1, "text": "y"}\n')
    with pytest.raises(TextsError, match="already in row 1"):
        list(read_rows(jsonl, TextRow))


def test_labels_whose_ids_are_numbers_are_found_by_gold_with_numbers(tmp_path: Path) -> None:
    labels, gold = tmp_path / "l.jsonl", tmp_path / "g.csv"
    labels.write_text('{"id": 1, "name": "x"}\n{"id": 2, "name": "y", "parents": [1]}\n')
    space = LabelSpace.read(labels)
    assert [label.id for label in space] == ["1", "2"]
    assert space[1].parents == ("1",)
    gold.write_text("id,text,labels\n1,one,1|2\n2,two,\n")
    assert [row.labels for row in read_gold(gold, space)] == [("1", "2"), ()]


@pytest.mark.parametrize("text", ["über Größe", "élève à Noël", "niños y años", "80 € – “so”"])
def test_western_text_is_cp1252(text: str) -> None:
    assert detect_encoding(f"id;name\n1;{text}\n".encode("cp1252")) == "cp1252"


def test_other_code_pages_are_told_apart() -> None:
    for text, encoding in (
        ("мыть посуду и готовить еду", "cp1251"),
        ("żółć i gęślą jaźń, zarządzanie", "cp1250"),
    ):
        assert detect_encoding(f"id;name\n1;{text}\n".encode(encoding)) == encoding


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", bytes(5_000), "zero bytes"),
        ("a.csv", b'id,name\n1,"x\n', "not CSV"),
        ("a.csv", b"id,name\n1,2,3\n", "3 cells in 2 columns"),
        ("a.csv", b"id,name,ID\n1,2,3\n", ""),
        ("a.csv", b"name,name,id\n1,2,3\n", "more than one column"),
        ("a.csv.gz", b"\x1f\x8bgarbage", "breaks off"),
        ("a.xlsx", b"no zip", "not XLSX"),
        ("a.xlsx", b"", "not XLSX"),
        ("a.parquet", b"PAR1", "not Parquet"),
        ("a.parquet", b"", "not Parquet"),
    ],
)
def test_a_broken_table_is_one_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if not says:
        assert len(LabelSpace.read(path)) == 1  # an exact name goes before one of another case
        return
    with pytest.raises(LabelSpaceError, match=says) as e:
        LabelSpace.read(path)
    assert "\n" not in str(e.value)


def mutated(content: bytes) -> st.SearchStrategy[bytes]:
    """The bytes of a file with a few of them changed, or cut."""
    place = st.integers(0, len(content) - 1)
    changes = st.lists(st.tuples(place, st.binary(min_size=1, max_size=4)), max_size=4)

    def apply(changes: list[tuple[int, bytes]], end: int) -> bytes:
        made = bytearray(content)
        for at, new in changes:
            made[at : at + len(new)] = new
        return bytes(made[:end])

    return st.builds(apply, changes, st.integers(1, len(content)))


def _samples() -> dict[str, bytes]:
    xlsx, parquet = io.BytesIO(), io.BytesIO()
    book = openpyxl.Workbook()
    for row in (("id", "name", "text"), (1, "a", "b"), (2, "c", "d")):
        book.active.append(row)
    book.save(xlsx)
    pq.write_table(pa.table({"id": [1, 2], "name": ["a", "b"], "text": ["c", None]}), parquet)
    return {
        "xlsx": xlsx.getvalue(),
        "parquet": parquet.getvalue(),
        "csv": excel_csv("utf-16"),
        "csv.gz": gzip.compress(excel_csv("cp1252")),
        "tsv": excel_csv("utf-8", "\t"),
        "jsonl": b'{"id": 1, "name": "a", "text": "b"}\n{"id": "x", "name": "c", "text": "d"}\n',
    }


SAMPLES = _samples()


@pytest.mark.parametrize("suffix", list(SAMPLES))
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_whatever_a_file_holds_it_is_read_or_one_line(
    tmp_path: Path, suffix: str, data: st.DataObject
) -> None:
    path = tmp_path / f"fuzz.{suffix}"
    path.write_bytes(data.draw(mutated(SAMPLES[suffix]) | st.binary(max_size=60)))
    try:
        with open_rows(str(path)) as source:
            for _ in source.rows:
                pass
    except IrrError as e:
        assert "\n" not in str(e)
    try:
        LabelSpace.read(path)
    except IrrError as e:
        assert "\n" not in str(e)
