"""The main job on input that any machine has: Python packages into the 896 trove classifiers.

The texts are packages of this environment (name, summary, keywords, start of the description), the gold the
classifiers that their authors declared. Every second package serves as history: how often its classifiers
occur there is each label's prior. The others are classified. Then a small language model joins in, and a
table shows what each stage gains by it, and what that costs. Run with `make demo`.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from trove_classifiers import sorted_classifiers

FOLDER = Path("build/demo")
# What a package is for stands at the start of its description.
DESCRIPTION_CHARACTERS = 600
MARKUP = re.compile(r"<[^>]+>|https?://\S+|\.\. \S+::.*|[=\-`*#~]{2,}")
LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
SHOWN = 5
LM_TEXTS = 6
LM_STAGES = {
    "no stage": [],
    "infer": ["--infer-lm", "embedded"],
    "rank": ["--rank-lm", "embedded"],
    "both": ["--lm", "embedded"],
}

console = Console(highlight=False, width=120)


def main() -> None:
    """Writes labels and texts, runs the commands a user would type, and shows what came out."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    labels, texts, output = (FOLDER / f"{name}.jsonl" for name in ("labels", "texts", "output"))
    packages = [package for package in installed() if declared_by(package)]
    history, rest = packages[::2], packages[1::2]
    _write(labels, labels_of(history))
    _write(texts, ({"id": p.name, "text": text_of(p), "labels": declared_by(p)} for p in rest))
    console.print(f"{len(sorted_classifiers)} labels, {len(rest)} texts; priors from {len(history)} others\n")

    start = time.perf_counter()
    _run("classify", "--labels", str(labels), "--input", str(texts), "--output", str(output), "--restart")
    _run("eval", "--labels", str(labels), "--gold", str(texts))
    _show(output)
    console.print(f"\nEvery package's labels are in {output}.\n")
    _stages(labels, texts)
    console.print(f"\n{time.perf_counter() - start:.0f} seconds in all")


def installed() -> list[Distribution]:
    """The packages of this environment, by name."""
    by_name = {package.name: package for package in distributions()}
    return [by_name[name] for name in sorted(by_name, key=str.lower)]


def declared_by(package: Distribution) -> list[str]:
    """The classifiers that its author declared and that are classifiers."""
    known = set(sorted_classifiers)
    return [c for c in dict.fromkeys(package.metadata.get_all("Classifier") or []) if c in known]


def labels_of(history: Sequence[Distribution]) -> Iterator[dict[str, Any]]:
    """All classifiers, with their priors in some packages."""
    counts = Counter(classifier for package in history for classifier in declared_by(package))
    for classifier in sorted_classifiers:
        *_, last = parts = classifier.split(" :: ")
        yield {
            "id": classifier,
            "name": " ".join(parts[-2:]),
            "aliases": [last],
            "prior": round(counts[classifier] / len(history), 4),
        }


def text_of(package: Distribution) -> str:
    """What a package says of itself."""
    metadata = package.metadata.json
    description = MARKUP.sub(" ", LINK.sub(r"\1", str(metadata.get("description", ""))))
    keywords = metadata.get("keywords", [])
    parts = [
        package.name,
        str(metadata.get("summary", "")),
        keywords if isinstance(keywords, str) else ", ".join(keywords),
        re.sub(r"\s+", " ", description)[:DESCRIPTION_CHARACTERS],
    ]
    return "\n".join(part for part in parts if part)


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def _run(*arguments: str, quiet: bool = False) -> None:
    console.print(f"$ irr {shlex.join(arguments)}", style="bold", markup=False, soft_wrap=True)
    output = subprocess.DEVNULL if quiet else None
    subprocess.run([sys.executable, "-m", "irr", *arguments], check=True, stdout=output)


def _show(output: Path) -> None:
    table = Table("package", "proposed, best first", "declared by its author", show_lines=True)
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    topical = [row for row in rows if any(c.startswith("Topic ::") for c in row["meta"]["labels"])]
    for row in topical[:: max(1, len(topical) // SHOWN)][:SHOWN]:
        declared = row["meta"]["labels"]
        proposed = Text()
        for label in row["labels"]:
            right = label["id"] in declared
            proposed.append(f"{'✓' if right else '·'} {label['id']}\n", "green" if right else "")
        table.add_row(row["id"], proposed, Text("\n".join(declared)))
    console.print(table)


def _stages(labels: Path, texts: Path) -> None:
    """What the embedded language model makes of one package, and gains on some, stage by stage."""
    console.print("With a language model: SmolLM2-135M-Instruct, on this machine.\n")
    rows = texts.read_text("utf-8").splitlines(keepends=True)
    some = FOLDER / "some.jsonl"
    some.write_text("".join(rows[:: max(1, len(rows) // LM_TEXTS)][:LM_TEXTS]), "utf-8")
    one = json.loads(rows[len(rows) // 2])["text"][:300]
    _run("inspect", "--labels", str(labels), "--lm", "embedded", "--top-k", "5", "--text", one)
    table = Table(
        "language model in", "RP@10", "95 % interval", "seconds a text", "calls", "prompt / new tokens"
    )
    scores = FOLDER / "scores.json"
    for stage, options in LM_STAGES.items():
        _run(
            "eval", "--labels", str(labels), "--gold", str(some), "--json", str(scores), *options, quiet=True
        )
        report = json.loads(scores.read_text("utf-8"))
        low, high = report["ci95"]["rp@10"]
        costs = report["costs"].values()
        calls, prompt, new = (
            sum(c[k] for c in costs) for k in ("calls", "prompt_tokens", "completion_tokens")
        )
        table.add_row(
            stage,
            f"{100 * report['rp@10']:.1f}",
            f"{100 * low:.1f} – {100 * high:.1f}",
            f"{report['seconds'] / report['texts']:.2f}",
            f"{calls:,}",
            f"{prompt:,} / {new:,}",
        )
    console.print(table)
    console.print(
        f"{LM_TEXTS} texts: a difference this small says little. `irr eval` on your own gold says more."
    )


if __name__ == "__main__":
    main()
