"""The rules of the house: what is exported, what an import costs, and which file may know which."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import irr

PACKAGE = Path(irr.__file__).parent
STAGES = {"infer", "retrieve", "rank"}
HEAVY = {
    "aiohttp",
    "torch",
    "sentence_transformers",
    "transformers",
    "chromadb",
    "dspy",
    "ray",
    "rdflib",
    "vllm",
}


def test_every_exported_name_is_there() -> None:
    for name in irr.__all__:
        assert getattr(irr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = irr.nothing


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, irr, irr.cli; print(*sorted(set(m.partition('.')[0] for m in sys.modules)))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(modules.stdout.split())


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_stages_do_not_know_one_another_and_two_files_join_them() -> None:
    joins = set()
    for path in PACKAGE.rglob("*.py"):
        # A stage's own files (rank and rank_lm) may know each other.
        stages = {name.removeprefix("irr.").removesuffix("_lm") for name in imports_of(path)} & STAGES
        own = path.stem.removesuffix("_lm")
        if own in STAGES:
            assert stages <= {own}, f"{path.name} imports {stages}"
        elif stages == STAGES:
            joins.add(path.stem)
    assert joins == {"assembly", "pipeline"}  # one builds a program, the other runs it


def test_every_file_opens_with_the_sentence_that_says_its_job() -> None:
    for path in [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "eval").glob("*.py")]:
        docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        assert docstring, path
        assert re.match(r".+?[.:](\s|$)", docstring.splitlines()[0]), path
