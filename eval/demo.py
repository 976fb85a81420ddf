"""The main job on input that any machine has: Python packages into the 896 trove classifiers.

The texts are the packages of this environment (name, summary, start of the description); the classifiers
that their authors declared are the gold. Run with `make demo`.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from trove_classifiers import sorted_classifiers

FOLDER = Path("build/demo")
# READMEs go on into change logs and badges; what a package is for stands at their start.
DESCRIPTION_CHARACTERS = 1_500
# Families that say how a package is made or licensed, which its text does not.
UNSTATED = ("License ::", "Development Status ::", "Programming Language ::", "Operating System ::")
SHOWN = ("scikit-learn", "typer", "aiohttp", "transformers", "chromadb")

console = Console(highlight=False, width=120)


def main() -> None:
    """Writes labels and texts, runs the commands a user would type, and shows what came out."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    labels, texts, output = (FOLDER / f"{name}.jsonl" for name in ("labels", "texts", "output"))
    _write(labels, _labels())
    rows = list(_texts())
    _write(texts, rows)
    console.print(f"{len(sorted_classifiers)} trove classifiers, {len(rows)} packages\n")

    start = time.perf_counter()
    _run("classify", "--labels", str(labels), "--input", str(texts), "--output", str(output))
    _run("eval", "--labels", str(labels), "--gold", str(texts))
    _show(output)
    console.print(
        f"\n{time.perf_counter() - start:.0f} seconds in all; every package's labels are in {output}"
    )


def _labels() -> Iterator[dict[str, Any]]:
    known = set(sorted_classifiers)
    for classifier in sorted_classifiers:
        parts = classifier.split(" :: ")
        parent = " :: ".join(parts[:-1])
        yield {
            "id": classifier,
            "name": " ".join(parts[-2:]) if len(parts) > 1 else classifier,
            "aliases": [parts[-1]],
            "parents": [parent] if parent in known else [],
        }


def _texts() -> Iterator[dict[str, Any]]:
    seen = set()
    for package in sorted(distributions(), key=lambda d: d.name.lower()):
        if package.name not in seen:
            seen.add(package.name)
            declared = package.metadata.get_all("Classifier") or []
            gold = [c for c in declared if c in sorted_classifiers and not c.startswith(UNSTATED)]
            yield {"id": package.name, "text": _text(package), "labels": gold}


def _text(package: Distribution) -> str:
    metadata = package.metadata.json
    description = str(metadata.get("description", ""))[:DESCRIPTION_CHARACTERS]
    return "\n".join([package.name, str(metadata.get("summary", "")), description]).strip()


def _write(path: Path, rows: Any) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def _run(*arguments: str) -> None:
    console.print(f"[bold]$ irr {shlex.join(arguments)}[/bold]")
    subprocess.run([sys.executable, "-m", "irr", *arguments], check=True)


def _show(output: Path) -> None:
    table = Table("package", "proposed, best first", "declared by its author", show_lines=True)
    rows = {row["id"]: row for row in map(json.loads, output.read_text("utf-8").splitlines())}
    for name in SHOWN:
        if name in rows:
            declared = rows[name]["meta"]["labels"]
            proposed = Text()
            for label in rows[name]["labels"][:6]:
                right = label["id"] in declared
                proposed.append(f"{'✓' if right else ' '} {label['id']}\n", "green" if right else "")
            table.add_row(name, proposed, Text("\n".join(declared)))
    console.print(table)


if __name__ == "__main__":
    main()
