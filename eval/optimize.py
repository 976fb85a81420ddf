"""What optimization on a few examples is worth: before and after, on texts that it has not seen.

python -m eval.optimize --labels DIR/labels.jsonl --train DIR/dev.jsonl --gold DIR/a_test.jsonl ...
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from eval.record import record
from irr.evaluate.evaluate import evaluate
from irr.io.texts import GoldRow, read_gold
from irr.labels.space import LabelSpace
from irr.lm.cache import Budget
from irr.lm.registry import open_model
from irr.optimize.dspy_search import Optimizer
from irr.optimize.optimization import optimize
from irr.optimize.prompt_search import Students
from irr.program.program import InferRetrieveRank, build
from irr.statistics import estimate

METRIC = "rp@10"


def main() -> None:
    """Optimizes, evaluates both programs on each set, prints a table, and records it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--val", type=Path)
    parser.add_argument("--gold", type=Path, nargs="*", default=[])
    parser.add_argument("--rank-lm", default="none", help="none, embedded or openai/MODEL")
    parser.add_argument("--infer-lm", default="none", help="likewise")
    parser.add_argument("--api-base", help="of openai/MODEL")
    parser.add_argument("--task", default="default")
    parser.add_argument("--optimizer", default="bootstrap", choices=[str(o) for o in Optimizer])
    parser.add_argument("--budget", type=int, help="calls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()

    space = LabelSpace.read(arguments.labels)
    models = Students(
        open_model(arguments.infer_lm, arguments.api_base), open_model(arguments.rank_lm, arguments.api_base)
    )
    start = time.monotonic()
    result = optimize(
        space,
        read_gold(arguments.train, space),
        read_gold(arguments.val, space) if arguments.val else None,
        models=models,
        task=arguments.task,
        optimizer=Optimizer(arguments.optimizer),
        budget=Budget(arguments.budget),
        seed=arguments.seed,
    )
    figures: dict[str, Any] = {
        "minutes": round((time.monotonic() - start) / 60, 1),
        "history": dict(result.history),
        "stopped": result.stopped,
        "settings": result.program.settings.model_dump(mode="json"),
        "models": {
            "infer": _named(result.program.models.infer_lm),
            "rank": _named(result.program.models.rank_lm),
        },
        "val": {name: found.model_dump() for name, found in result.scores.items()},
        "trials": [trial.row() for trial in result.trials],
        "test": {},
    }
    given = build(space, infer_lm=models.infer, rank_lm=models.rank, task=arguments.task)
    table = Table("set", "texts", "before", "after", "difference", title=METRIC)
    for gold in arguments.gold:
        rows = [row for row in read_gold(gold, space) if row.labels]
        figures["test"][gold.stem] = found = _compared(given, result.program, rows)
        table.add_row(gold.stem, str(len(rows)), *(_shown(found[key]) for key in ("before", "after", "gain")))
    console = Console(width=140)
    console.print({key: figures[key] for key in ("minutes", "history", "stopped", "models")})
    console.print({name: _shown(found.metrics[METRIC].model_dump()) for name, found in result.scores.items()})
    console.print(table)
    if arguments.name:
        record(arguments.name, figures)


def _compared(before: InferRetrieveRank, after: InferRetrieveRank, rows: list[GoldRow]) -> dict[str, Any]:
    """Both programs' means, and the mean of the paired difference, each with its interval."""
    values = [np.array(evaluate(program, rows).per_text.scores[METRIC]) for program in (before, after)]
    columns = {"before": values[0], "after": values[1], "gain": values[1] - values[0]}
    return {name: estimate(column.tolist()).model_dump() for name, column in columns.items()}


def _shown(e: dict[str, float]) -> str:
    return f"{100 * e['mean']:.1f} ({100 * e['low']:.1f} – {100 * e['high']:.1f})"


def _named(model: Any) -> str | None:
    return model.name if model else None


if __name__ == "__main__":
    main()
