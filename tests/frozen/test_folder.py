"""A frozen program takes its place at once, touches nothing else, and is never lost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import irr as package
from irr.errors import ProgramError
from irr.frozen import folder as folder_module
from irr.frozen.folder import FILES, ProgramFolder, read_manifest
from tests.doubles.small_disk import mounted


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folders_of_others_beside_it_stay(program: package.InferRetrieveRank, tmp_path: Path) -> None:
    for name in ("prog.part", "prog.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
    package.freeze(program, tmp_path / "prog")
    package.freeze(program, tmp_path / "prog")
    assert names(tmp_path) == ["prog", "prog.old", "prog.part"]
    for name in ("prog.part", "prog.old"):
        assert (tmp_path / name / "mine.txt").read_text() == "mine"
    assert read_manifest(tmp_path / "prog").digest == program.digest


def test_a_link_stays_a_link_and_an_empty_folder_is_as_good_as_none(
    program: package.InferRetrieveRank, tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "link").symlink_to("there")
    package.freeze(program, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert read_manifest(tmp_path / "there").digest == program.digest
    assert (tmp_path / "there").stat().st_mode & 0o777 == 0o777 & ~umask()


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (".", "is or holds the current folder"),
        ("", "is or holds the current folder"),
        ("..", "is or holds the current folder"),
        ("missing/prog", "No such file or directory"),
        ("file", "Not a directory"),
        ("file/prog", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("busy", "is not a frozen program"),
        ("/proc/prog", "cannot be written"),
    ],
)
def test_what_is_no_place_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "busy" / "more").mkdir(parents=True)
    with pytest.raises(ProgramError, match=says) as caught:
        ProgramFolder.at(name)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["busy", "file"]


def test_a_read_only_parent_is_said_at_once(tmp_path: Path) -> None:
    with mounted(tmp_path / "read-only", "ro") as folder, pytest.raises(ProgramError, match="Read-only"):
        ProgramFolder.at(folder / "prog")


@pytest.mark.parametrize("exchange", [folder_module._exchange, lambda *_: False])
def test_both_ways_to_replace_leave_one_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: Callable[[Path, Path], bool]
) -> None:
    monkeypatch.setattr(folder_module, "_exchange", exchange)
    for content in (b"old", b"new"):
        ProgramFolder.at(tmp_path / "prog").fill(dict.fromkeys(FILES, content))
    assert names(tmp_path) == ["prog"]
    assert {path.read_bytes() for path in (tmp_path / "prog").iterdir()} == {b"new"}


def test_what_comes_meanwhile_stays_and_the_result_is_named(tmp_path: Path) -> None:
    place = ProgramFolder.at(tmp_path / "prog")
    (tmp_path / "prog").mkdir()
    (tmp_path / "prog" / "mine.txt").write_text("mine")
    with pytest.raises(ProgramError, match=r"is not a frozen program.*the program is in ") as caught:
        place.fill(dict.fromkeys(FILES, b"new"))
    assert names(tmp_path / "prog") == ["mine.txt"]
    (rescued,) = (path for path in tmp_path.iterdir() if path.name != "prog")
    assert str(rescued) in str(caught.value)
    assert set(names(rescued)) == FILES


def test_on_a_full_disk_the_result_is_kept_elsewhere_and_nothing_half_written_is_left(tmp_path: Path) -> None:
    contents = dict.fromkeys(FILES, b"x" * 40_000)
    with mounted(tmp_path / "small", "size=300k") as folder:
        place = ProgramFolder.at(folder / "prog")
        place.fill(contents)
        (folder / "ballast").write_bytes(b"x" * 30_000)
        with pytest.raises(ProgramError, match=r"No space left.*the program is in ") as caught:
            place.fill(dict.fromkeys(FILES, b"y" * 40_000))
        assert names(folder) == ["ballast", "prog"]
        assert {path.read_bytes() for path in (folder / "prog").iterdir()} == {b"x" * 40_000}
    rescued = Path(str(caught.value).partition("the program is in ")[2].partition(":")[0])
    assert rescued.parent == Path(tempfile.gettempdir())
    assert set(names(rescued)) == FILES
    for path in rescued.iterdir():
        path.unlink()
    rescued.rmdir()


REPLACE = """
import sys
from irr.frozen.folder import FILES
from irr.frozen.folder import ProgramFolder
for number in range(10**6):
    ProgramFolder.at(sys.argv[1]).fill(dict.fromkeys(FILES, b"%d" % number))
"""


def test_a_kill_leaves_the_old_program_or_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "prog"
    ProgramFolder.at(folder).fill(dict.fromkeys(FILES, b"0"))
    for kill in range(4):
        with subprocess.Popen([sys.executable, "-c", REPLACE, folder]) as process:
            time.sleep(0.7 + 0.13 * kill)
            process.kill()
        assert set(names(folder)) == FILES
        assert len({path.read_bytes() for path in folder.iterdir()}) == 1
    ProgramFolder.at(folder).fill(dict.fromkeys(FILES, b"end"))
    assert {path.read_bytes() for path in folder.iterdir()} == {b"end"}
