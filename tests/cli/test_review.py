"""`irr review`: judgments become gold that the other commands read."""

from __future__ import annotations

from pathlib import Path

from irr.workbench.review.judgments import JudgmentStore, Order
from tests.support import Irr, read_jsonl
from tests.workbench.review.test_store import judgment


def test_an_export_is_gold_that_eval_reads(irr: Irr, labels_file: Path, tmp_path: Path) -> None:
    store, gold = JudgmentStore(tmp_path / "judgments"), tmp_path / "gold.jsonl"
    store.append(judgment(1, text_id="1", text="We bake bread.", order=Order.RANDOM))
    store.append(judgment(2, text_id=2, text="Dishes", labels=("wash",), order=Order.UNSURE))
    store.append(judgment(3, text_id="1", text="We bake bread.", reviewer="bob"))
    result = irr("review", "export", "--decisions", tmp_path / "judgments", "--output", gold)
    assert result.returncode == 0, result.stderr
    assert "chosen by chance" in result.stderr
    assert {row["id"]: row["labels"] for row in read_jsonl(gold)} == {"1": ["bake"], 2: ["wash"]}
    scored = irr("eval", "--labels", labels_file, "--gold", gold)
    assert scored.returncode == 0, scored.stderr
    shown = irr("review", "show", "--decisions", tmp_path / "judgments")
    assert shown.returncode == 0
    assert "ada" in shown.stdout
    assert "bob" in shown.stdout


def test_what_cannot_be_exported_is_said_in_one_line(irr: Irr, tmp_path: Path) -> None:
    for arguments, said in (
        (("export", "--decisions", tmp_path), "no output"),
        (("show", "--decisions", tmp_path / "none"), "no such folder"),
        (("show", "--decisions", tmp_path), "holds no judgments"),
    ):
        result = irr("review", *arguments)
        assert result.returncode == 2
        assert said in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_a_review_that_cannot_be_served_is_refused_before_anything_slow(
    irr: Irr, labels_file: Path, tmp_path: Path
) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"id": 1, "text": "bake bread"}\n')
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    serve = ("serve", "--labels", labels_file, "--port", 0)
    for arguments, said in (
        (("--review", texts), "add --decisions DIR"),
        (("--decisions", tmp_path), "add --review FILE"),
        (("--review", texts, "--decisions", tmp_path, "--workers", 2), "one process"),
        (("--review", empty, "--decisions", tmp_path), "holds no texts"),
        (("--review", texts, "--decisions", texts), "texts.jsonl: cannot be written"),
        (("--review", tmp_path / "none.jsonl", "--decisions", tmp_path), "none.jsonl"),
    ):
        result = irr(*serve, *arguments)
        assert result.returncode == 2
        assert said in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1
