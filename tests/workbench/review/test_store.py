"""Judgments on disk: none is lost by a kill, none is doubled, and people do not get in each other's way."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from irr.types import RankedLabel
from irr.workbench.review.judgments import (
    Judgment,
    JudgmentsError,
    JudgmentStore,
    Order,
    Verdict,
    valid_judgments,
)

WRITER = """
import sys
from pathlib import Path
from irr.workbench.review.judgments import JudgmentStore
from tests.workbench.review.test_store import judgment
store = JudgmentStore(Path(sys.argv[1]))
for number in range(100_000):
    store.append(judgment(number, reviewer=sys.argv[2]))
    print(number, flush=True)
"""


def judgment(number: int, **changes: Any) -> Judgment:
    fields: dict[str, Any] = {
        "key": f"{changes.get('reviewer', 'ada')} {number}",
        "reviewer": "ada",
        "at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number),
        "text_id": number,
        "text": f"text {number} with a line separator \u2028 in it",
        "verdict": Verdict.LABELS,
        "labels": ("bake",),
        "order": Order.LISTED,
        "program": "0" * 64,
        "proposed": (RankedLabel(id="bake", name="bake bread", score=1.0, probability=0.9),),
    }
    return Judgment(**(fields | changes))


def test_what_is_kept_is_read_again_and_sent_twice_is_kept_once(tmp_path: Path) -> None:
    store = JudgmentStore(tmp_path / "judgments")
    first, second = judgment(1), judgment(2, reviewer="Jörg / ../ Ünal")
    for one in (first, second, first):
        assert store.append(one) == one
    assert store.append(judgment(1, labels=())) == first, "the key decides"
    kept = JudgmentStore(tmp_path / "judgments").judgments()
    assert sorted(kept, key=lambda one: one.at) == [first, second]
    assert {path.parent for path in tmp_path.rglob("*.jsonl")} == {tmp_path / "judgments"}


def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Two processes write for one person and for another; both are killed, and what they tore is cut off."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), name], stdout=subprocess.PIPE, text=True
        )
        for name in ("ada", "bob")
    ]
    for writer in writers:
        assert writer.stdout and writer.stdout.readline()
    time.sleep(0.3)
    for writer in writers:
        writer.kill()
    told = [[int(line) for line in writer.stdout or ()] for writer in writers]
    for writer in writers:
        writer.communicate()
    for path in tmp_path.glob("*.jsonl"):
        with path.open("ab") as file:
            file.write(b'{"key": "torn')
    store = JudgmentStore(tmp_path)
    kept = store.judgments()
    for name, numbers in zip(("ada", "bob"), told, strict=True):
        mine = [one.text_id for one in kept if one.reviewer == name]
        assert mine == list(range(len(mine)))
        # Told of were the first and these; one more may have been written.
        assert len(numbers) + 1 <= len(mine) <= len(numbers) + 2
    store.append(judgment(-1))
    assert len(JudgmentStore(tmp_path).judgments()) == len(kept) + 1


def test_many_threads_and_stores_write_one_file(tmp_path: Path) -> None:
    stores = [JudgmentStore(tmp_path), JudgmentStore(tmp_path)]

    def write(start: int) -> None:
        for number in range(start, 40):
            stores[start % 2].append(judgment(number))

    threads = [threading.Thread(target=write, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = JudgmentStore(tmp_path).judgments()
    assert sorted(one.text_id for one in kept) == list(range(40))


def test_a_file_that_is_moved_away_while_people_judge_begins_anew(tmp_path: Path) -> None:
    folder, kept = tmp_path / "judgments", tmp_path / "kept.jsonl"
    store = JudgmentStore(folder)
    store.append(judgment(1))
    next(folder.glob("*.jsonl")).rename(kept)
    store.append(judgment(2))
    assert [one.text_id for one in store.judgments()] == [2]
    assert [one.text_id for one in JudgmentStore(folder).judgments()] == [2]
    assert store.append(judgment(1)) == judgment(1), "it is kept again"
    assert len(JudgmentStore(folder).judgments()) == 2


def test_no_name_hides_a_file_from_a_backup(tmp_path: Path) -> None:
    JudgmentStore(tmp_path).append(judgment(1, reviewer="../ada"))
    assert [path.name[0] for path in tmp_path.glob("*.jsonl")] == ["%"]


def test_a_file_that_is_not_ours_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ada.judgments.jsonl"
    path.write_text('{"id": 1}\n')
    with pytest.raises(JudgmentsError, match=r"ada\.judgments\.jsonl, row 1"):
        JudgmentStore(tmp_path).append(judgment(1))
    assert path.read_text() == '{"id": 1}\n'


def test_the_last_judgment_holds_and_can_be_taken_back() -> None:
    first, changed = judgment(1), judgment(2, text_id=1, labels=("cook",))
    back = judgment(3, text_id=1, verdict=Verdict.UNDONE, undoes=changed.key)
    assert valid_judgments([first, changed]) == [changed]
    assert valid_judgments([first, changed, back]) == [first]
    other = judgment(4, text_id=1, reviewer="bob")
    assert valid_judgments([first, other]) == [first, other]


@pytest.mark.parametrize("name", ["", " ", "a\x00b", "\u202e", "ü" * 100])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        judgment(1, reviewer=name)
