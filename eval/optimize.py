"""What optimization on a few examples is worth: before and after, on texts that it has not seen.

python -m eval.optimize --labels DIR/labels.jsonl --train DIR/dev.jsonl --gold DIR/a_test.jsonl ...
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from eval.record import finish, options
from irr.evaluate.evaluate import evaluate
from irr.io.texts import GoldRow, read_gold
from irr.labels.space import LabelSpace
from irr.lm.cache import Budget
from irr.lm.registry import open_model
from irr.optimize.optimization import optimize
from irr.optimize.prompt_search import Optimizer
from irr.program.program import InferRetrieveRank, build
from irr.statistics import estimate, paired_bootstrap

METRIC = "rp@10"


def main() -> None:
    """Optimizes, evaluates both programs on each set, prints and records the figures."""
    parser = options(__doc__)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--gold", type=Path, nargs="*", default=[])
    parser.add_argument("--rank-lm", default="none", help="none, embedded or openai/MODEL")
    parser.add_argument("--infer-lm", default="none", help="likewise")
    parser.add_argument("--api-base", help="of openai/MODEL")
    parser.add_argument("--task", default="default")
    parser.add_argument("--optimizer", default="bootstrap", choices=[str(o) for o in Optimizer])
    parser.add_argument("--budget", type=int, help="calls")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    space = LabelSpace.read(arguments.labels)
    given = build(
        space,
        infer_lm=open_model(arguments.infer_lm, arguments.api_base),
        rank_lm=open_model(arguments.rank_lm, arguments.api_base),
        task=arguments.task,
    )
    start = time.monotonic()
    result = optimize(
        given,
        read_gold(arguments.train, space),
        optimizer=Optimizer(arguments.optimizer),
        budget=Budget(arguments.budget),
        seed=arguments.seed,
    )
    minutes = round((time.monotonic() - start) / 60, 1)
    figures: dict[str, Any] = {
        "minutes": minutes,
        "settings": result.program.settings.model_dump(mode="json"),
        "val": {name: found.model_dump() for name, found in result.scores.items()},
        "trials": [trial.row() for trial in result.trials],
        "test": {
            gold.stem: compared(given, result.program, [row for row in read_gold(gold, space) if row.labels])
            for gold in arguments.gold
        },
    }
    finish(figures, arguments.name)


def compared(before: InferRetrieveRank, after: InferRetrieveRank, rows: list[GoldRow]) -> dict[str, Any]:
    """Both programs' means, and the mean of the paired difference, each with its interval."""
    values = [evaluate(program, rows).per_text.scores[METRIC] for program in (before, after)]
    return {
        "before": estimate(values[0]).model_dump(),
        "after": estimate(values[1]).model_dump(),
        "gain": paired_bootstrap(values[1], values[0]).model_dump(),
    }


if __name__ == "__main__":
    main()
