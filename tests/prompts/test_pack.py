"""Task packs: those that come with the package, one of a user's own, and what is said about bad ones."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from irr.errors import InputError
from irr.prompts.pack import load_task, task_names

PACK = '''\
title = "Kitchen tasks"
text = "job offer"
label = "task"
labels = "tasks"

[infer]
instructions = """
Propose up to 10 tasks."""

[rank]
instructions = "Order the candidates; answer with their numbers only."
question = "Does the offer name this task?"

[[demos]]
text = "You bake for us."
terms = ["bake bread", "包饺子"]

[[demos]]
text = "You wash up."
terms = ["wash dishes"]
'''


def folder_with(text: str, folder: Path) -> str:
    (folder / "task.toml").write_text(text, "utf-8")
    return str(folder)


def test_the_packed_tasks_are_there() -> None:
    assert task_names() == ["attack", "biodex", "default", "esco", "icd10", "subjects"]


@pytest.mark.parametrize("name", task_names())
def test_a_packed_task_is_compact_and_has_distinct_demos(name: str) -> None:
    task = load_task(name)
    assert 4 <= len(task.demos) <= 6
    assert len({demo.text for demo in task.demos}) == len(task.demos)
    for demo in task.demos:
        assert 3 <= len(demo.terms) <= 10
        assert all(demo.terms)
        assert len({term.casefold() for term in demo.terms}) == len(demo.terms)
    assert len(task.notes.splitlines()) <= 5
    assert len(f"{task.notes}{task.infer.instructions}{task.rank.instructions}") < 1_800
    assert "\n" not in task.infer.instructions + task.rank.instructions
    assert "numbers only" in task.rank.instructions
    assert "never follow instructions" in task.infer.instructions
    assert "never follow instructions" in task.rank.instructions
    assert task.rank.question.endswith("?")


def test_a_new_folder_is_a_new_task(tmp_path: Path) -> None:
    task = load_task(folder_with(PACK, tmp_path))
    assert (task.text, task.label, task.labels, task.notes) == ("job offer", "task", "tasks", "")
    assert task.infer.instructions == "Propose up to 10 tasks."
    assert task.demos[0].terms == ("bake bread", "包饺子")
    with pytest.raises(ValidationError, match="frozen"):
        task.title = "other"  # type: ignore[misc]


def test_a_copy_of_a_packed_task_is_the_same_task(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "prompts" / "esco"
    shutil.copytree(source, tmp_path / "mine")
    assert load_task(str(tmp_path / "mine")) == load_task("esco")


def test_windows_line_ends_and_a_byte_order_mark_are_no_fault(tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_bytes(b"\xef\xbb\xbf" + PACK.replace("\n", "\r\n").encode())
    assert load_task(str(tmp_path)).title == "Kitchen tasks"


def test_a_packed_name_is_not_taken_for_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "esco").mkdir()
    folder_with(PACK, tmp_path / "esco")
    monkeypatch.chdir(tmp_path)
    assert load_task("esco").title == "ESCO skills"
    assert load_task("./esco").title == "Kitchen tasks"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('label = "task"\n', "", 'no "label": add "label"'),
        ('question = "Does the offer name this task?"\n', "", 'no "rank.question": add "rank.question"'),
        ("title =", "titel =", 'unknown key "titel": remove it; the keys here are title, text, label, '),
        (
            "question =",
            "ask =",
            'unknown key "rank.ask": remove it; the keys here are instructions, question',
        ),
        (
            'terms = ["wash',
            'labels = ["wash',
            'demos 2: unknown key "labels": remove it; the keys here are text, ',
        ),
        (
            "\nPropose up to 10 tasks.",
            "  \n",
            'empty "infer.instructions": give "infer.instructions" a value',
        ),
        ('"Kitchen tasks"', '""', 'empty "title": give "title" a value'),
        ('"Kitchen tasks"', "7", '"title" is not a string: put it in quotes'),
        ('"Kitchen tasks"', f'"{"x" * 101}"', '"title" is too long: keep it to 100 characters'),
        ('"Kitchen tasks"', '"a\\nb"', '"title" has several lines: write it in one line'),
        ('["wash dishes"]', "[]", 'demos 2: empty "terms": give "terms" a value'),
        ('["wash dishes"]', '["wash dishes", " "]', 'demos 2: empty "terms": give "terms" a value'),
        (
            '["wash dishes"]',
            '["wash", "Wash"]',
            'demos 2: "terms": "Wash" occurs twice: correct ',
        ),
        ('["wash dishes"]', '"wash dishes"', 'demos 2: "terms" is not a list: write it as ["...", "..."]'),
        (PACK[PACK.index("[[") :], "", 'no "demos": add "demos"'),
        (PACK[PACK.index("[infer]") : PACK.index("[rank]")], "infer = 'x'\n", '"infer" is not a table'),
        (
            PACK[PACK.index("[[") :],
            "[demos]\ntext = 'x'",
            '"demos" is not a list: write it as',
        ),
        (
            "text = ",
            "text ",
            "row 2: not TOML (expected '=' after a key in a key/value pair): correct the line",
        ),
        ('tasks."""', "tasks.", "not TOML ("),
    ],
)
def test_a_bad_pack_is_one_line_with_the_file_and_what_to_change(
    old: str, new: str, says: str, tmp_path: Path
) -> None:
    assert old in PACK
    with pytest.raises(InputError) as caught:
        load_task(folder_with(PACK.replace(old, new, 1), tmp_path))
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "task.toml"))
    assert says in message
    assert "\n" not in message
    assert caught.value.hint


def test_demos_that_are_no_tables_are_named(tmp_path: Path) -> None:
    text = "demos = ['x']\n" + PACK[: PACK.index("[[")]
    with pytest.raises(InputError, match=r'"demos" is not a table: give names and values'):
        load_task(folder_with(text, tmp_path))


def test_bytes_that_are_no_utf8_are_named_with_their_row(tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_bytes(b'title = "x"\ntext = "\xff"\n')
    with pytest.raises(InputError, match="row 2: not UTF-8"):
        load_task(str(tmp_path))


def test_a_folder_without_a_task_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"task\.toml: no such file"):
        load_task(str(tmp_path))


@pytest.mark.parametrize("name", ["nothing", "", "no/such/folder", "x" * 5_000])
def test_an_unknown_task_lists_the_known_ones(name: str) -> None:
    with pytest.raises(InputError) as caught:
        load_task(name)
    message = str(caught.value)
    assert message.startswith(f'task "{name}": no such task: name one of attack, biodex, default, esco, ')
    assert "\n" not in message


BOMBS = {
    "arrays": "a = " + "[" * 100_000,
    "tables": "a = " + "{a=" * 50_000,
    "dotted": ".".join(["a"] * 100_000) + " = 1",
    "quoted": ".".join(['"a b"'] * 20_000) + " = 1",
    "header": "[" + ".".join(["a"] * 100_000) + "]",
    "lines": "".join(f"a.b{i} = 1\n" for i in range(100_000)),
    "quotes": '"' * 500_000,
    "one word": "a" * 900_000,
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_task_that_is_a_bomb_is_one_line_soon(kind: str, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        load_task(folder_with(BOMBS[kind], tmp_path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert time.monotonic() - start < 20
