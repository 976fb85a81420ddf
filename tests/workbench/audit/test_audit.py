"""The audit: what was falsified on purpose is found, and is said in words that a person can check."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from irr import build
from irr.errors import UsageError
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.types import Example
from irr.workbench.audit import Audit, audit
from irr.workbench.audit.gold_audit import add_suspicion, judge
from irr.workbench.audit.pairs import PAIR, rank_texts
from tests.doubles.hash_encoder import HashEncoder
from tests.support import Irr, read_jsonl, write_jsonl

_TOPICS = 24
_TEXTS = 8
SPACE = [
    *({"id": f"t{n}", "name": f"topic{n} matter{n}"} for n in range(_TOPICS)),
    # Its name has nothing to do with its texts.
    {"id": "odd", "name": "unrelated"},
    # One thing under two names that nobody can tell apart.
    {"id": "twin a", "name": "sailing boats", "description": "under canvas"},
    {"id": "twin b", "name": "sailing boats", "description": "by wind"},
    *({"id": f"rest{n}", "name": f"nothing{n} else{n}"} for n in range(40)),
]


def gold() -> list[GoldRow]:
    chance = random.Random(0)
    texts = [
        (f"t{n}", f"about topic{n} and matter{n} with word{chance.randrange(50)} extra{chance.randrange(50)}")
        for n in range(_TOPICS)
        for _ in range(_TEXTS)
    ]
    texts += [("odd", f"quaint curious strange{n}") for n in range(3)]
    texts += [(f"twin {'ab'[n % 2]}", f"sailing boats in the harbour {n}") for n in range(8)]
    return [GoldRow(id=n, text=text, labels=(label,)) for n, (label, text) in enumerate(texts)]


def falsified(rows: list[GoldRow]) -> tuple[list[GoldRow], dict[int, str]]:
    """Every 16th text of a topic has another label, none, or one more."""
    changed, done = list(rows), {}
    for number in range(0, _TOPICS * _TEXTS, 16):
        row, wrong = rows[number], f"t{(number // _TEXTS + 7) % _TOPICS}"
        kind = ("swapped", "dropped", "added")[number // 16 % 3]
        labels = {"swapped": (wrong,), "dropped": (), "added": (*row.labels, wrong)}[kind]
        changed[number] = row.model_copy(update={"labels": labels})
        done[number] = kind
    return changed, done


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    program = build(LabelSpace(SPACE), encoder=HashEncoder(), index_folder=tmp_path_factory.mktemp("index"))
    rows, _ = falsified(gold())
    rows[1] = rows[1].model_copy(update={"labels": (*rows[1].labels, "gone")})
    return audit(program, rows)


def test_what_was_falsified_comes_first_and_is_named(found: Audit) -> None:
    _, done = falsified(gold())
    top = found.suspects[: len(done)]
    assert sum(one.id in done for one in top) >= 0.8 * len(done)
    for one in top:
        if one.id not in done:
            continue
        kind = done[int(one.id)]
        right = f"t{int(one.id) // _TEXTS}"
        said = {(finding.kind, finding.label) for finding in one.findings}
        assert kind == "added" or ("missing", right) in said
        assert kind == "dropped" or any(k == "wrong" and label != right for k, label in said)
    assert [one.suspicion for one in found.suspects] == sorted(
        (one.suspicion for one in found.suspects), reverse=True
    )
    assert len(found.suspects) == found.texts


def test_a_text_that_is_an_example_of_the_program_does_not_speak_for_itself(tmp_path: Path) -> None:
    rows, done = falsified(gold())
    examples = [Example(text=row.text, labels=row.labels) for row in rows if row.labels]
    program = build(LabelSpace(SPACE), encoder=HashEncoder(), examples=examples, index_folder=tmp_path)
    top = audit(program, rows).suspects[: len(done)]
    assert sum(one.id in done for one in top) >= 0.8 * len(done)


def test_a_finding_says_what_the_program_saw(found: Audit) -> None:
    wrong = next(f for one in found.suspects for f in one.findings if f.kind == "wrong")
    missing = next(f for one in found.suspects for f in one.findings if f.kind == "missing")
    assert "the program" in wrong.why
    assert "the nearest text that has it" in wrong.why
    assert "ranks it 1" in missing.why
    assert " met " in missing.why


def test_unsound_labels_are_told(found: Audit) -> None:
    assert found.unknown == {"gone": 1}
    pairs = {(pair.one.id, pair.other.id): pair.why for pair in found.twins}
    assert "one name" in pairs["twin a", "twin b"]
    assert found.unreached < len(SPACE)


def test_too_few_texts_are_refused(tmp_path: Path) -> None:
    program = build(LabelSpace(SPACE), encoder=HashEncoder(), index_folder=tmp_path)
    with pytest.raises(UsageError, match="too few"):
        audit(program, gold()[:29])
    other = [row.model_copy(update={"labels": ("x",)}) for row in gold()]
    with pytest.raises(UsageError, match='1 gold id is unknown, as "x"'):
        audit(program, other)
    silent = [row.model_copy(update={"text": " "}) for row in gold()]
    with pytest.raises(UsageError, match="none of the texts"):
        audit(program, silent)


def test_how_often_a_label_is_given_tells_nothing_of_a_text(tmp_path: Path) -> None:
    """Texts that say nothing: a text that has a label leaves itself out, which must not give it away."""
    program = build(LabelSpace(SPACE), encoder=HashEncoder(), index_folder=tmp_path)
    labels = [n % _TOPICS for n in range(2 * _TOPICS)]
    gold = [frozenset({label}) for label in labels]
    ranked = rank_texts(program, [f"silent{n} void{n}" for n in range(len(gold))], sorted(set(labels)))
    pairs, _ = judge(ranked, gold, len(SPACE))
    right = pairs["probability"][pairs["given"]]
    wrong = pairs["probability"][~pairs["given"] & (pairs["label"] < _TOPICS)]
    assert 0.3 < (right[:, None] > wrong).mean() < 0.7


def test_suspicion_rises_with_what_speaks_against_the_gold() -> None:
    pairs = np.zeros(107, PAIR)
    pairs["weight"] = 1
    pairs["probability"] = [0.99, 0.5, 0.01, 1e-6, 0.99, 0.5, 0.01, *np.full(100, 1e-7)]
    pairs["given"][:4] = True
    added, dropped = add_suspicion(pairs)
    wrong, missing = pairs["suspicion"][:4], pairs["suspicion"][4:7]
    assert (np.diff(wrong) > 0).all()
    assert (np.diff(missing) < 0).all()
    assert 0 < added < 1
    assert 0 < dropped < 1


def test_the_command_writes_what_the_review_page_opens(irr: Irr, tmp_path: Path) -> None:
    labels = write_jsonl(tmp_path / "labels.jsonl", SPACE)
    rows, done = falsified(gold())
    file = write_jsonl(tmp_path / "gold.jsonl", [row.model_dump() for row in rows])
    out = tmp_path / "suspects.jsonl"
    result = irr("audit", "--labels", labels, "--gold", file, "--output", out)
    assert result.returncode == 0, result.stderr
    assert "texts in the order of their suspicion" in result.stdout
    assert "cannot be told apart" in result.stdout
    listed = read_jsonl(out)
    assert len(listed) == len(rows)
    assert {"id", "text", "labels", "suspicion", "findings"} == set(listed[0])
    assert listed[0]["id"] in done
    result = irr(
        "audit", "--labels", labels, "--gold", write_jsonl(tmp_path / "few.jsonl", [rows[1].model_dump()])
    )
    assert result.returncode == 2
    assert "too few" in result.stderr
