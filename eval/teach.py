"""What taught examples are worth: a strong model's labels for the dev texts in place of gold.

python -m eval.teach --data DIR [--name teach]

DIR holds esco/ and recorded/esco.jsonl, as for `eval.recorded`. The recorded model labels the ESCO dev
sentences through the whole program; `irr optimize` makes programs of its labels and one of gold. The number
of labels that a text gets of the model is chosen by gold of the dev sentences, each without its own example;
that program, the one of gold and one without examples are then evaluated on the three test sets without a
language model. A dev sentence that is a test sentence, too, is left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from eval.record import record
from eval.recorded import SETS, Recorded, read
from irr.batch import Job
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.evaluate.evaluate import Evaluation, evaluate
from irr.io.texts import GoldRow, read_gold
from irr.optimize.optimization import optimize
from irr.optimize.scorer import CachingEncoder
from irr.program.program import InferRetrieveRank, build
from irr.statistics import paired_bootstrap
from irr.workbench.teach import Models, label_texts

# Labels a text gets from the model.
_TOP_K = (1, 2, 3, 5)


def main() -> None:
    """Teaches, optimizes and evaluates, and records the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()
    encoder = CachingEncoder(SentenceEncoder())
    found: dict[str, dict[str, Evaluation]] = {}
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        recorded = read(arguments.data, Path(folder))
        tests = {
            name: read_gold(arguments.data / "esco" / f"{name}_test.jsonl", recorded.space) for name in SETS
        }
        programs = {"no examples": build(recorded.space, encoder=encoder)}
        programs["gold"] = optimized(recorded, recorded.dev)
        for top_k in _TOP_K:
            rows = taught(recorded, encoder, Path(folder) / f"taught{top_k}.jsonl", top_k)
            figures[f"agreement with gold, {top_k} labels"] = agreement(rows, recorded.dev)
            programs[_named(top_k)] = optimized(recorded, rows)
        for name, program in programs.items():
            found[name] = {"dev": evaluate(program.leaving_examples_out(), recorded.dev)}
            Console(stderr=True).print(name, found[name]["dev"].metrics["rp@10"].percent())
        best = max(map(_named, _TOP_K), key=lambda name: found[name]["dev"].metrics["rp@10"].mean)
        figures["chosen on dev"] = best
        for name in ("no examples", "gold", best):
            found[name] |= {of: evaluate(programs[name], rows) for of, rows in tests.items()}
    show(found, figures)
    if arguments.name:
        figures["systems"] = {name: as_json(sets, found["gold"]) for name, sets in found.items()}
        record(arguments.name, figures)


def _named(top_k: int) -> str:
    return f"taught, {top_k} labels a text"


def taught(recorded: Recorded, encoder: CachingEncoder, output: Path, top_k: int) -> list[GoldRow]:
    """The dev texts with the labels that the model gives them through the whole program."""
    model = recorded.model("task")
    texts = output.with_name(f"{output.stem}.texts.jsonl")
    texts.write_text("".join(json.dumps({"id": row.id, "text": row.text}) + "\n" for row in recorded.dev))

    def program(models: Models) -> InferRetrieveRank:
        infer, rank = models
        return build(recorded.space, encoder=encoder, infer_lm=infer, rank_lm=rank, task="esco")

    job = Job(str(texts), str(output), top_k, costs=True)
    label_texts(job, lambda: (model, model), program, None, lambda _tally, _share: None)
    return read_gold(output, recorded.space)


def optimized(recorded: Recorded, rows: Sequence[GoldRow]) -> InferRetrieveRank:
    """What `irr optimize` makes of these examples."""
    return optimize(recorded.space, rows).program


def agreement(rows: Sequence[GoldRow], gold: Sequence[GoldRow]) -> dict[str, float]:
    """The share of the taught labels that are gold, and of gold that is taught."""
    right = given = wanted = 0
    for ours, theirs in zip(rows, gold, strict=True):
        right += len({*ours.labels} & {*theirs.labels})
        given += len({*ours.labels})
        wanted += len({*theirs.labels})
    return {"precision": round(right / given, 4), "recall": round(right / wanted, 4)}


def as_json(sets: dict[str, Evaluation], gold: dict[str, Evaluation]) -> dict[str, Any]:
    """The scores on each set, and the difference in RP@10 to the program made of gold."""
    return {
        name: {
            **report.as_json(per_text=False),
            "against gold rp@10": paired_bootstrap(
                report.per_text.scores["rp@10"], gold[name].per_text.scores["rp@10"]
            ).model_dump(),
        }
        for name, report in sets.items()
    }


def show(found: dict[str, dict[str, Evaluation]], figures: dict[str, Any]) -> None:
    """Prints RP@10 with intervals."""
    table = Table("RP@10 (95 % interval), no model at run time", *SETS, "dev, each by the others")
    for name, sets in found.items():
        shown = (sets[of].metrics["rp@10"].percent() if of in sets else "" for of in (*SETS, "dev"))
        table.add_row(name, *shown)
    console = Console(width=140)
    console.print(table)
    console.print(figures)


if __name__ == "__main__":
    main()
