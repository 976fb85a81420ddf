"""The lock file holds what pyproject.toml asks for."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent


def declared() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    # vLLM has an environment of its own.
    for group in (project["dependencies"], *(extras[name] for name in extras if name != "vllm")):
        yield from (found for found in map(Requirement, group) if found.name != project["name"])


def test_the_lock_file_holds_every_dependency_at_a_version_that_is_allowed() -> None:
    locked: dict[str, list[Version]] = {}
    for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines():
        (pin,) = (found := Requirement(line)).specifier
        assert pin.operator == "==", line
        locked.setdefault(canonicalize_name(found.name), []).append(Version(pin.version))
    for asked in declared():
        versions = locked.get(canonicalize_name(asked.name), [])
        assert versions, f"{asked.name} is not locked: run make lock"
        assert all(asked.specifier.contains(v) for v in versions), (
            f"{asked} is locked at {versions}: run make lock"
        )
