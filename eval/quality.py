"""Quality on a pack of evaluation data: RP@k and friends with 95 % intervals, per set of texts.

python -m eval.quality --labels DIR/labels.jsonl --fields name --gold DIR/a_test.jsonl DIR/b_test.jsonl
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from eval.record import record
from irr.config import Settings
from irr.evaluate.evaluate import evaluate
from irr.io.texts import read_gold
from irr.labels.space import LabelSpace
from irr.lm.registry import open_model
from irr.program.program import build

SHOWN = ("rp@5", "rp@10", "rp@50", "recall@50", "mrr")


def main() -> None:
    """Evaluates each set, prints a table, and records it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--gold", type=Path, nargs="+", required=True)
    parser.add_argument("--fields", default="name,alias,description")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings to change")
    parser.add_argument("--infer-lm", default="none", help="none, embedded or openai/MODEL")
    parser.add_argument("--rank-lm", default="none", help="likewise")
    parser.add_argument("--api-base", help="of openai/MODEL")
    parser.add_argument("--task", default="default", help="what language models are told")
    parser.add_argument("--limit", type=int, help="only the first texts of each set")
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()

    changes = dict(item.split("=", 1) for item in arguments.set)
    settings = Settings.model_validate({"fields": tuple(arguments.fields.split(",")), **changes})
    space = LabelSpace.read(arguments.labels)
    program = build(
        space,
        settings=settings,
        infer_lm=open_model(arguments.infer_lm, arguments.api_base),
        rank_lm=open_model(arguments.rank_lm, arguments.api_base),
        task=arguments.task,
    )
    table = Table("set", "texts", *SHOWN, title=f"{len(space):,} labels, by {arguments.fields}")
    figures: dict[str, Any] = {}
    for gold in arguments.gold:
        report = evaluate(program, read_gold(gold, space)[: arguments.limit])
        figures[gold.stem] = report.as_json(per_text=False)
        cells = [
            f"{100 * e.mean:.1f} ({100 * e.low:.1f} – {100 * e.high:.1f})"
            for e in (report.metrics[name] for name in SHOWN)
        ]
        table.add_row(gold.stem, str(report.texts), *cells)
    Console(width=140).print(table)
    if arguments.name:
        record(arguments.name, {"settings": settings.model_dump(mode="json"), "sets": figures})


if __name__ == "__main__":
    main()
