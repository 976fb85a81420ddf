"""The rules of docs/architecture.md: the order of the rooms, what is private, who knows the stages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import irr

PACKAGE = Path(irr.__file__).parent
ROOT = PACKAGE.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
STAGES = {"infer", "retrieve", "rank"}
# The package's own front, the command line and what a room's __init__ passes on.
FRONT = {"irr", "irr.__main__"}
HEAVY = set(
    "aiohttp chromadb dspy fastapi prometheus_client ray rdflib scipy sentence_transformers starlette torch "
    "transformers uvicorn vllm".split()
)


class Import(NamedTuple):
    """A module, and the names taken from it; none where it is imported itself."""

    module: str
    names: tuple[str, ...]
    typing_only: bool


@cache
def files() -> dict[str, Path]:
    """Every file of the package by its module's name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> list[Import]:
    """Every import of `irr` in a file, wherever it stands."""
    return list(_imports(ast.parse(files()[module].read_text("utf-8")), False))


def _imports(node: ast.AST, typing_only: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(name.name, (), typing_only) for name in node.names if _own(name.name))
    elif isinstance(node, ast.ImportFrom) and node.module and _own(node.module):
        modules = [f"{node.module}.{name.name}" for name in node.names]
        yield from (Import(module, (), typing_only) for module in modules if module in files())
        names = tuple(name.name for name in node.names if f"{node.module}.{name.name}" not in files())
        if names:
            yield Import(node.module, names, typing_only)
    typing_only |= isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, typing_only)


def _own(module: str) -> bool:
    return module.partition(".")[0] == "irr"


def room_of(module: str) -> str:
    """The folder directly under `irr` that a module is in, or the name of its file there."""
    return module.removeprefix("irr").lstrip(".").partition(".")[0]


@cache
def order() -> dict[str, int]:
    """The place of each room in the page's table, the first being the highest."""
    rows = re.findall(r"^\| (`.*?) \|", PAGE[: PAGE.index("## Where to add what")], re.M)
    return {
        name.removesuffix("/").removesuffix(".py"): place
        for place, row in enumerate(rows)
        for name in re.findall(r"`([^`]+)`", row)
    }


# The most parameters of a function; these have more, all but the first ones by keyword only.
MOST_PARAMETERS = 7
MANY_OPTIONS = {
    "irr.program.program.assemble",
    "irr.program.program.build",
    "irr.frozen.freeze.load",
    "irr.optimize.optimization.optimize",
}

MODULES = [module for module in files() if module not in FRONT]


def test_the_page_names_every_room() -> None:
    assert {room_of(module) for module in MODULES} == set(order())


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_rooms_below_it(module: str) -> None:
    place = order()[room_of(module)]
    above = {found.module for found in imports(module) if order().get(room_of(found.module), place) < place}
    assert not above, f"{module} imports {', '.join(sorted(above))}, which the page lists above it"


def test_there_are_no_import_circles() -> None:
    """Between modules, and between rooms, imports for types included."""
    modules = {module: {i.module for i in imports(module)} - {module, "irr"} for module in MODULES}
    rooms: dict[str, set[str]] = {}
    for module, known in modules.items():
        rooms.setdefault(room_of(module), set()).update(room_of(k) for k in known)
    rooms = {room: known - {room} for room, known in rooms.items()}
    for graph in (modules, rooms):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as e:
            pytest.fail(f"a circle: {' -> '.join(e.args[1])}")


@pytest.mark.parametrize("module", MODULES)
def test_what_is_private_to_a_room_stays_there(module: str) -> None:
    taken = [
        f"{found.module}.{name}"
        for found in imports(module)
        if room_of(found.module) != room_of(module)
        for name in (*found.names, *found.module.split("."))
        if name.startswith("_") and not name.startswith("__")
    ]
    assert not taken, f"{module} takes {', '.join(taken)}"


def test_the_workbench_imports_the_public_modules_that_the_page_lists() -> None:
    sentence = re.search(r"The workbench imports `irr` and these modules alone.*?\.\n", PAGE, re.S)
    assert sentence
    public = tuple(re.findall(r"`(irr\.\w+)`", sentence[0]))
    for module in MODULES:
        if room_of(module) == "workbench":
            for found in imports(module):
                own = found.module.startswith(("irr.workbench", *public))
                assert own or (found.module == "irr" and set(found.names) <= set(irr.__all__)), (
                    f"{module} imports {found.module}"
                )


def test_stages_do_not_know_one_another_and_two_files_join_them() -> None:
    joins = set()
    for module in MODULES:
        known = {room_of(found.module) for found in imports(module)} & STAGES
        if room_of(module) in STAGES:
            assert known <= {room_of(module)}, f"{module} imports {known}"
        elif known == STAGES:
            joins.add(module)
    assert joins == {"irr.program.stages"}


# A command has a parameter for each of its options.
@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) != "cli"])
def test_no_function_takes_many_parameters(module: str) -> None:
    for node in ast.walk(ast.parse(files()[module].read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            positional = [a.arg for a in (*given.posonlyargs, *given.args) if a.arg not in ("self", "cls")]
            by_keyword = [] if f"{module}.{node.name}" in MANY_OPTIONS else given.kwonlyargs
            assert len(positional) + len(by_keyword) <= MOST_PARAMETERS, (
                f"{module}.{node.name}: use an options object"
            )


@pytest.mark.parametrize("path", [*files().values(), *(ROOT / "eval").glob("*.py")], ids=str)
def test_every_file_opens_with_the_sentence_that_says_its_job(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert docstring
    assert re.match(r".+?[.:](\s|$)", docstring.splitlines()[0])


def test_an_import_and_the_help_load_nothing_heavy() -> None:
    code = "import sys, irr, irr.cli; print(*sorted(set(m.partition('.')[0] for m in sys.modules)))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(modules.stdout.split())


def test_every_public_name_is_there() -> None:
    """The names that type checkers see are those that the package has."""
    tree = ast.parse(files()["irr"].read_text("utf-8"))
    typed = {
        name.name
        for node in tree.body
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        if isinstance(statement, ast.ImportFrom)
        for name in statement.names
    }
    assert typed | {"__version__"} == set(irr.__all__)
    for name in irr.__all__:
        assert getattr(irr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = irr.nothing


def test_no_two_files_and_no_two_classes_have_one_name() -> None:
    names = Counter(path.name for path in files().values() if path.name != "__init__.py")
    classes = Counter(
        node.name
        for path in files().values()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert not [name for name, count in (names + classes).items() if count > 1]


@pytest.mark.parametrize(
    ("folder", "others"), [("tests", {"eval", "scripts"}), ("eval", {"tests"}), ("scripts", {"tests"})]
)
def test_tests_and_benchmarks_do_not_import_each_other(folder: str, others: set[str]) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            taken = {name.partition(".")[0] for name in names} & others
            assert not taken, f"{path} imports {', '.join(sorted(taken))}"


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) == "workbench"])
def test_the_workbench_uses_the_public_api_alone(module: str) -> None:
    """What `irr` exports, and the modules that the page names."""
    line = PAGE[PAGE.index("The workbench imports") :].partition("\n\n")[0]
    public = set(re.findall(r"`(irr[.\w]*)`", line))
    for found in imports(module):
        if found.module == "irr":
            assert set(found.names) <= set(irr.__all__)
        elif room_of(found.module) != "workbench":
            parents = {".".join(found.module.split(".")[:depth]) for depth in (2, 3)}
            assert parents & public, f"{module} imports {found.module}"
