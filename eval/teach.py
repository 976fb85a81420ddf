"""What taught examples are worth: a strong model's labels for the dev texts in place of gold.

python -m eval.teach --data DIR [--name teach]

DIR holds esco/ and recorded/esco.jsonl, as for `eval.recorded`. The recorded model labels the ESCO dev
sentences through the whole program; `irr optimize` makes programs of its labels and one of gold. The number
of labels that a text gets of the model is chosen by gold of the dev sentences, each without its own example;
that program, the one of gold and one without examples are then evaluated on the three test sets without a
language model.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.record import finish, options
from eval.recorded import SETS, Recorded, compared, read
from irr.batch import Job
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.evaluate.evaluate import Evaluation, evaluate
from irr.io.texts import GoldRow, read_gold
from irr.optimize.optimization import optimize
from irr.optimize.tuning import CachingEncoder
from irr.program.program import InferRetrieveRank, build
from irr.statistics import paired_bootstrap
from irr.workbench.teach import Models, label_texts

# Labels a text gets from the model.
_TOP_K = (1, 2, 3, 5)


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


def agreement(rows: Sequence[GoldRow], gold: Sequence[GoldRow]) -> dict[str, float]:
    """The share of the taught labels that are gold, and of gold that is taught."""
    pairs = [({*ours.labels}, {*theirs.labels}) for ours, theirs in zip(rows, gold, strict=True)]
    right = sum(len(ours & theirs) for ours, theirs in pairs)
    return {
        "precision": round(right / sum(len(ours) for ours, _ in pairs), 4),
        "recall": round(right / sum(len(theirs) for _, theirs in pairs), 4),
    }


def main() -> None:
    """Teaches, optimizes and evaluates, and records the figures."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    encoder = CachingEncoder(SentenceEncoder())
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        recorded = read(arguments.data, Path(folder))
        esco = arguments.data / "esco"
        tests = {name: read_gold(esco / f"{name}_test.jsonl", recorded.space) for name in SETS}
        plain = build(recorded.space, encoder=encoder)
        programs = {"no examples": plain, "gold": optimize(plain, recorded.dev).program}
        for top_k in _TOP_K:
            rows = taught(recorded, encoder, Path(folder) / f"taught{top_k}.jsonl", top_k)
            figures[f"agreement with gold, {top_k} labels"] = agreement(rows, recorded.dev)
            programs[f"taught, {top_k} labels a text"] = optimize(plain, rows).program
        found: dict[str, dict[str, Evaluation]] = {
            name: {"dev": evaluate(program.leaving_examples_out(), recorded.dev)}
            for name, program in programs.items()
        }
        taught_ones = [name for name in programs if name.startswith("taught")]
        best = max(taught_ones, key=lambda name: found[name]["dev"].metrics["rp@10"].mean)
        for name in ("no examples", "gold", best):
            found[name] |= {of: evaluate(programs[name], rows) for of, rows in tests.items()}
    for name, sets in found.items():
        print(name, {of: report.metrics["rp@10"].percent() for of, report in sets.items()})
    figures |= {"chosen on dev": best}
    figures["systems"] = {
        name: compared(sets, found["gold"], "against gold rp@10") for name, sets in found.items()
    }
    for name in SETS:
        ours, theirs = (found[one][name].per_text.scores["rp@10"] for one in (best, "gold"))
        print(name, "taught against gold:", paired_bootstrap(ours, theirs).percent())
    finish(figures, arguments.name, show=False)


if __name__ == "__main__":
    main()
