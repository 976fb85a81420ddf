"""The commands as a user types them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from irr.encoders.sentence_transformers import SentenceEncoder
from irr.frozen.freeze import freeze
from irr.program.program import build
from irr.retrieve.features import Combination
from tests.support import Irr, read_jsonl, write_jsonl

TEXTS = [
    {"id": "t1", "text": "You will bake bread.", "labels": ["bake"], "source": {"page": 3}},
    {"id": "t2", "text": "  "},
    {"id": "t3", "text": "x" * 2_000_000},
    {"id": "t4", "text": "wash\u0000 the dishes, «schön»"},
    {"id": "t5", "text": "\x01\x02"},
]


def test_classify_answers_every_row_in_order(irr: Irr, labels_file: Path, tmp_path: Path) -> None:
    texts = write_jsonl(tmp_path / "texts.jsonl", TEXTS)
    output = tmp_path / "out.jsonl"
    summary = tmp_path / "summary.json"
    call = ("classify", "--labels", labels_file, "--input", texts, "--output", output, "--top-k", 2)
    result = irr(*call, "--summary", summary, "--price-per-million", "1,2")
    assert result.returncode == 1, result.stderr
    came_to = json.loads(summary.read_text())
    assert (came_to["texts"], came_to["errors"], came_to["price"]) == (5, 3, 0)
    assert "3 of 5 texts with an error" in result.stderr
    assert result.stdout == ""
    rows = read_jsonl(output)
    assert [row["id"] for row in rows] == ["t1", "t2", "t3", "t4", "t5"]
    assert rows[0]["labels"][0].keys() == {"id", "name", "score"}
    assert rows[0]["labels"][0]["id"] == "bake"
    assert rows[0]["meta"] == {"labels": ["bake"], "source": {"page": 3}}
    assert rows[0]["error"] is None
    assert rows[3]["labels"][0]["id"] == "wash"
    assert len(rows[3]["labels"]) == 2
    for row, code in ((rows[1], "empty_text"), (rows[2], "text_too_long"), (rows[4], "empty_text")):
        assert row["labels"] == []
        assert row["error"].keys() == {"code", "message"}
        assert row["error"]["code"] == code
    assert not list(tmp_path.glob("*.part"))


def test_classify_from_stdin_to_stdout(irr: Irr, labels_file: Path) -> None:
    stdin = '{"id": "1", "text": "order flour"}\n\n{"id": "\\ud800", "text": "C++"}'
    result = irr("classify", "--labels", labels_file, "--input", "-", "--output", "-", stdin=stdin)
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["labels"][0]["id"] for row in rows] == ["buy", "cpp"]
    assert "meta" not in rows[0]


def test_no_texts_give_an_empty_output(irr: Irr, labels_file: Path, tmp_path: Path) -> None:
    texts = write_jsonl(tmp_path / "texts.jsonl", [])
    output = tmp_path / "out.jsonl"
    result = irr("classify", "--labels", labels_file, "--input", texts, "--output", output)
    assert result.returncode == 0, result.stderr
    assert output.read_text() == ""


def test_eval_prints_a_table_and_writes_the_metrics(irr: Irr, labels_file: Path, tmp_path: Path) -> None:
    gold = write_jsonl(
        tmp_path / "gold.jsonl",
        [
            {"id": "1", "text": "bake bread", "labels": ["bake"]},
            {"id": "2", "text": "bake bread", "labels": ["bake", "zh"]},
            {"id": "3", "text": "nothing right", "labels": []},
        ],
    )
    scores = tmp_path / "scores.json"
    result = irr("eval", "--labels", labels_file, "--gold", gold, "--json", scores)
    assert result.returncode == 0, result.stderr
    assert "rp@10" in result.stdout
    assert "1 text without gold labels" in result.stdout
    metrics = json.loads(scores.read_text())
    assert metrics["rp@1"] == 1.0
    assert metrics["recall@50"] == 1.0
    assert metrics["texts"] == 3
    assert metrics["texts_per_second"] > 0
    for name in ("rp@5", "rp@10", "rp@50", "recall@50"):
        low, high = metrics["ci95"][name]
        assert low <= metrics[name] <= high


def test_inspect_shows_every_stage(irr: Irr, labels_file: Path) -> None:
    result = irr("inspect", "--labels", labels_file, "--text", "bake sourdough, then [bold]wash[/bold] up")
    assert result.returncode == 0, result.stderr
    for shown in ("bake sourdough", "→ bake bread", "infer", "retrieve", "rank"):
        assert shown in result.stdout


def test_inspect_says_that_the_text_is_in_another_language(irr: Irr, labels_file: Path) -> None:
    result = irr("inspect", "--labels", labels_file, "--text", "Sie werden Brot und Kuchen backen")
    assert "the words of the text do not look like English" in result.stderr
    assert "such as intfloat/multilingual-e5-small" in result.stderr


@pytest.mark.parametrize("many", [False, True], ids=["default weights", "many weights"])
def test_inspect_shows_what_adds_up_to_a_score(
    irr: Irr, labels_file: Path, tmp_path: Path, encoder: SentenceEncoder, many: bool
) -> None:
    long = " ".join(f"On day {n} you will bake bread and cakes for {n} guests." for n in range(40))
    program: tuple[str | Path, ...] = ("--labels", labels_file)
    end = r"[\w ]+ [+-][\d.]+"
    if many:
        names = "mean_passage shared_words standout_span strong_matches passage_match first_passage".split()
        weights = {"score": 0.3} | dict.fromkeys(names, 0.1)
        combination = Combination(short=weights, long=weights)
        built = build(
            labels_file, encoder=encoder, combination=combination, index_folder=tmp_path / "indexes"
        )
        freeze(built, tmp_path / "program")
        program, end = ("--program", tmp_path / "program"), r"\d+ others [+-][\d.]+"
    result = irr("inspect", *program, "--text", long, "--top-k", 1)
    assert result.returncode == 0, result.stderr
    shown = " ".join(re.sub("[│|]", " ", result.stdout).split())
    pattern = rf"([\d.]+) bake bread .*? score = ((?:\w+ [+-][\d.]+, )+{end})"
    score, parts = re.search(pattern, shown).groups()
    assert sum(map(float, re.findall(r"[+-][\d.]+", parts))) == pytest.approx(float(score), abs=5e-3)


def unusable(result: object, *says: str) -> None:
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    for part in says:
        assert part in lines[0]


GOOD = '{"id": "1", "text": "bread"}\n'


def test_what_a_call_names_must_be_there(irr: Irr, labels_file: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text(GOOD)
    gone = tmp_path / "gone.jsonl"
    unusable(irr("classify", "--labels", gone, "--input", texts, "--output", "-"), "gone.jsonl: no such file")
    unusable(
        irr("classify", "--labels", labels_file, "--input", gone, "--output", "-"), "gone.jsonl: no such"
    )
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    unusable(irr("classify", "--labels", empty, "--input", texts, "--output", "-"), "empty.txt: no labels")


def test_an_output_that_cannot_be_written_stops_the_call(irr: Irr, labels_file: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text(GOOD)
    call = ("classify", "--labels", labels_file, "--input", texts, "--output")
    unusable(irr(*call, tmp_path / "no" / "out.jsonl"), "out.jsonl: cannot be written")
    unusable(irr(*call, tmp_path), "is a folder")
    before = labels_file.read_text("utf-8")
    for read in (texts, labels_file):
        unusable(irr(*call, read), "is both read and written")
    assert (texts.read_text(), labels_file.read_text("utf-8")) == (GOOD, before)
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"id": "1", "text": "bread", "labels": ["bake"]}\n')
    scores = ("eval", "--labels", labels_file, "--gold", gold, "--json")
    unusable(irr(*scores, labels_file), "is both read and written")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gold.jsonl", "texts.jsonl"]


def test_an_input_that_looks_like_a_partial_output_is_safe(
    irr: Irr, labels_file: Path, tmp_path: Path
) -> None:
    texts = tmp_path / "out.jsonl.part"
    texts.write_text(GOOD)
    output = tmp_path / "out.jsonl"
    call = ("classify", "--labels", labels_file, "--input", texts, "--output", output)
    unusable(irr(*call), "out.jsonl.part is both read and written")
    unusable(irr(*call, "--restart"), "out.jsonl.part is both read and written")
    assert texts.read_text() == GOOD


def test_a_link_stays_a_link(irr: Irr, labels_file: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text(GOOD)
    link, target = tmp_path / "link.jsonl", tmp_path / "target.jsonl"
    link.symlink_to(target)
    assert irr("classify", "--labels", labels_file, "--input", texts, "--output", link).returncode == 0
    assert link.is_symlink()
    assert len(read_jsonl(target)) == 1


def test_a_pipe_is_read_once(irr_process: Irr, labels_file: Path) -> None:
    call = ("classify", "--labels", labels_file, "--input", "/dev/stdin", "--output", "/dev/stdout")
    result = irr_process(*call, stdin=GOOD)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["labels"][0]["id"] == "bake"


def test_a_full_disk_is_one_line(irr: Irr, labels_file: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text(GOOD)
    result = irr("classify", "--labels", labels_file, "--input", texts, "--output", "/dev/full")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "No space left" in result.stderr


def test_what_json_has_no_word_for_does_not_reach_the_output(irr: Irr, labels_file: Path) -> None:
    rows = '{"id": "1", "text": "bread", "x": NaN}\n'
    result = irr("classify", "--labels", labels_file, "--input", "-", "--output", "-", stdin=rows)
    assert json.loads(result.stdout, parse_constant=pytest.fail)["meta"] == {"x": None}


def test_an_encoder_that_is_not_there_stops_the_call(irr: Irr, labels_file: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text(GOOD)
    output = tmp_path / "out.jsonl"
    call = ("classify", "--labels", labels_file, "--input", texts, "--output", output, "--encoder")
    unusable(irr(*call, "./no-such-folder"), "no encoder folder ./no-such-folder")
    (tmp_path / "broken").mkdir()
    unusable(irr(*call, tmp_path / "broken"), "holds no encoder that loads")
    result = irr(*call, "no-such-model")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith('irr: no encoder "no-such-model" here')
    assert len(result.stderr.splitlines()) == 2, "what is asked of the hub is said, then that it failed"
    assert not output.exists()


def test_gold_must_be_in_the_label_space(irr: Irr, labels_file: Path, tmp_path: Path) -> None:
    gold = tmp_path / "gold.jsonl"
    gold.write_text('\n{"id": "1", "text": "x", "labels": ["bake", "bale"]}\n')
    result = irr("eval", "--labels", labels_file, "--gold", gold)
    unusable(result, "gold.jsonl, row 2", 'gold label "bale" is not in the label space')
    gold.write_text(GOOD)
    unusable(irr("eval", "--labels", labels_file, "--gold", gold), "row 1", 'no "labels"')
    gold.write_text('{"id": "1", "text": "x", "labels": []}\n')
    unusable(irr("eval", "--labels", labels_file, "--gold", gold), "no text has gold labels")


def test_other_unusable_calls(irr: Irr, labels_file: Path) -> None:
    call = ("inspect", "--labels", labels_file, "--text")
    unusable(irr(*call, " "), "--text", "nothing to read")
    unusable(irr(*call, "x", "--fields", "name,title"), "--fields", '"title"')
    unusable(irr(*call, "x", "--top-k", "0"), "--top-k")
    unusable(irr("classify"), "Missing option")
    optimizer = irr("optimize", "--optimizer", "all").stderr
    assert optimizer.startswith("irr: Invalid value for '--optimizer': 'all' is not one of 'bootstrap', "), (
        optimizer
    )
    unusable(irr("clasify"), "No such command")
