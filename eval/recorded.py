"""What a strong language model is worth: recorded answers on ESCO, settings chosen on dev, scores on test.

python -m eval.recorded --data DIR [--name recorded]

DIR holds esco/ (labels.jsonl, dev.jsonl, the three test sets) and recorded/esco.jsonl: for each answer the id
of its text, the stage, whether the prompt showed the task's two demos or the five nearest dev examples, and
what the model said. The first rows are the default settings, not tuned; then the weight of the ranking is
chosen on dev, and the program frozen, moved and loaded again. A test set is what of it was recorded; a dev
sentence that is a test sentence, too, is left out of dev.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from eval.record import record
from irr.config import HYPERPARAMETERS, Settings
from irr.encoders.base import Encoder
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.evaluate.evaluate import Evaluation, evaluate
from irr.frozen.freeze import freeze, load
from irr.io.texts import GoldRow, read_gold
from irr.labels.space import LabelSpace
from irr.lm.protocol import LanguageModel
from irr.lm.recorded import RecordedAnswer, RecordedModel
from irr.optimize.dspy_search import Optimizer
from irr.optimize.optimization import optimize
from irr.optimize.prompt_search import Students
from irr.optimize.scorer import CachingEncoder
from irr.program.program import InferRetrieveRank, build
from irr.statistics import paired_bootstrap

SETS = ("house", "tech", "techwolf")
SHOWN = ("rp@5", "rp@10", "rp@50")
# Whether the optimized program answers as it did before it was frozen is asked of so many texts.
_COMPARED = 20
NO_MODEL = "no language model"
OPTIMIZED = "optimized on dev, two demos of the task"
_WEIGHT = "rank.listwise_weight"


@dataclass(frozen=True)
class Recorded:
    """Recorded answers and the texts that they are of.

    Attributes:
        space: The label space.
        dev: The dev texts that are no test texts.
        test: The test texts that were recorded, by set.
        files: Files of answers, as the recorded model reads them, by what the prompts showed.
    """

    space: LabelSpace
    dev: Sequence[GoldRow]
    test: Mapping[str, Sequence[GoldRow]]
    files: Mapping[str, Path]

    def model(self, demos: str) -> RecordedModel:
        """The model as it answered with these demos."""
        return RecordedModel.read(self.files[demos])


def main() -> None:
    """Evaluates the default and the optimized program with and without the model, and records the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--index-folder", type=Path)
    parser.add_argument("--optimize", action="store_true", help="also what irr optimize makes of dev")
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recorded = read(arguments.data, Path(folder))
        figures: dict[str, Any] = {"texts": {name: len(rows) for name, rows in recorded.test.items()}}
        systems: dict[str, dict[str, Evaluation]] = {}
        for name, program in programs(
            recorded, arguments.optimize, arguments.index_folder, Path(folder), figures
        ):
            systems[name] = {of: evaluate(program, rows) for of, rows in recorded.test.items()}
            if without := sum(report.fallbacks for report in systems[name].values()):
                raise SystemExit(
                    f"{name}: {without} texts have no recorded answer: the figures would not count"
                )
            if isinstance(model := program.models.rank_lm, RecordedModel):
                figures.setdefault("candidates never shown", {})[name] = round(model.unseen / model.shown, 4)
            show(name, systems[name])
    figures["systems"] = {name: _as_json(sets, systems[NO_MODEL]) for name, sets in systems.items()}
    print_table(systems, figures)
    if arguments.name:
        record(arguments.name, figures)


def read(data: Path, folder: Path) -> Recorded:
    """Reads texts and answers; the answers are written to `folder` as the recorded model reads them."""
    space = LabelSpace.read(data / "esco" / "labels.jsonl")
    tests = {name: read_gold(data / "esco" / f"{name}_test.jsonl", space) for name in SETS}
    held_out = {row.text for rows in tests.values() for row in rows}
    dev = [row for row in read_gold(data / "esco" / "dev.jsonl", space) if row.text not in held_out]
    text_of = {row.id: row.text for rows in (dev, *tests.values()) for row in rows}
    lines = (data / "recorded" / "esco.jsonl").read_text("utf-8").splitlines()
    answers = [json.loads(line) for line in lines]
    files = {}
    for demos in ("task", "near"):
        own = [
            RecordedAnswer(text=text_of[row["id"]], **row)
            for row in answers
            if row["demos"] == demos and row["id"] in text_of
        ]
        files[demos] = folder / f"{demos}.jsonl"
        files[demos].write_text("".join(answer.model_dump_json() + "\n" for answer in own), "utf-8")
    known = {row["id"] for row in answers}
    test = {name: [row for row in rows if row.id in known] for name, rows in tests.items()}
    return Recorded(space, dev, test, files)


def programs(
    recorded: Recorded, optimized: bool, index_folder: Path | None, folder: Path, figures: dict[str, Any]
) -> Iterator[tuple[str, InferRetrieveRank]]:
    """Each program that is evaluated, with its name."""
    encoder: Encoder = CachingEncoder(SentenceEncoder())

    def built(
        settings: Settings | None = None,
        infer_lm: LanguageModel | None = None,
        rank_lm: LanguageModel | None = None,
    ) -> InferRetrieveRank:
        return build(
            recorded.space,
            encoder=encoder,
            settings=settings,
            infer_lm=infer_lm,
            rank_lm=rank_lm,
            task="esco",
            index_folder=index_folder,
        )

    yield NO_MODEL, built()
    yield "its terms", built(infer_lm=recorded.model("task"))
    shown = {"task": "two demos of the task", "near": "five nearest dev examples"}
    for demos, what in shown.items():
        model = recorded.model(demos)
        yield f"its terms and its ranking, {what}", built(infer_lm=model, rank_lm=model)

    model = recorded.model("task")
    settings, figures["dev"] = chosen(recorded, lambda settings: built(settings, model, model))
    encoder = SentenceEncoder()  # that can be frozen
    program, figures["answers after loading"] = _frozen(
        built(settings, model, model), recorded, folder, index_folder
    )
    yield f"the same, weight chosen on dev, {shown['task']}", program
    model = recorded.model("near")
    yield f"the same, weight chosen on dev, {shown['near']}", built(settings, model, model)
    if optimized:
        yield OPTIMIZED, _optimized(recorded, index_folder, figures)


def chosen(
    recorded: Recorded, built: Callable[[Settings], InferRetrieveRank]
) -> tuple[Settings, dict[str, Any]]:
    """The weight of the ranking with the best mean RP@10 on dev, and what each weight scores there.

    Other weights of terms would change the candidates, for which the model's order is not known.
    """
    reports = {
        weight: evaluate(built(Settings().replace({_WEIGHT: weight})), recorded.dev)
        for weight in HYPERPARAMETERS[_WEIGHT]
    }
    default = reports[Settings().flat()[_WEIGHT]].per_text.scores["rp@10"]
    best = max(reports, key=lambda weight: reports[weight].metrics["rp@10"].mean)
    figures = {
        f"{_WEIGHT}={weight:g}": {
            "rp@5": report.metrics["rp@5"].percent(),
            "rp@10": report.metrics["rp@10"].percent(),
            "gain rp@10": paired_bootstrap(report.per_text.scores["rp@10"], default).percent(),
        }
        for weight, report in reports.items()
    }
    return Settings().replace({_WEIGHT: best}), {"texts": len(recorded.dev), **figures}


def _optimized(recorded: Recorded, index_folder: Path | None, figures: dict[str, Any]) -> InferRetrieveRank:
    """What `irr optimize` makes of the dev answers."""
    model = recorded.model("task")
    result = optimize(
        recorded.space,
        recorded.dev,
        models=Students(model, model),
        task="esco",
        optimizer=Optimizer.NONE,
        index_folder=index_folder,
    )
    changed = result.program.settings.difference(Settings())
    figures["optimized"] = {
        "settings": {name: here for name, (here, _) in changed.items()},
        "trials": [trial.row() for trial in result.trials],
    }
    return result.program


def _frozen(
    program: InferRetrieveRank, recorded: Recorded, folder: Path, index_folder: Path | None
) -> tuple[InferRetrieveRank, str]:
    """The program after it was frozen, moved and loaded, and whether it still answers the same."""
    freeze(program, folder / "frozen")
    shutil.move(folder / "frozen", folder / "elsewhere")
    loaded = load(folder / "elsewhere", index_folder=index_folder)
    texts = [row.text for rows in recorded.test.values() for row in rows[:_COMPARED]]
    same = [a.labels == b.labels for a, b in zip(program.batch(texts), loaded.batch(texts), strict=True)]
    return loaded, f"{sum(same)} of {len(same)} the same"


def _as_json(sets: Mapping[str, Evaluation], without: Mapping[str, Evaluation]) -> dict[str, Any]:
    """The scores on each set, and by how much RP@10 is better than without a model on the same texts."""
    found: dict[str, Any] = {}
    for name, report in sets.items():
        ours, theirs = (r.per_text.scores["rp@10"] for r in (report, without[name]))
        gain = paired_bootstrap(ours, theirs)
        found[name] = {**report.as_json(per_text=False), "gain rp@10": gain.model_dump()}
    return found


def show(name: str, sets: Mapping[str, Evaluation]) -> None:
    """Prints the scores of one program."""
    cells = {of: " / ".join(f"{100 * r.metrics[m].mean:.1f}" for m in SHOWN) for of, r in sets.items()}
    Console(stderr=True, width=160).print(name, cells)


def print_table(systems: Mapping[str, Mapping[str, Evaluation]], figures: Mapping[str, Any]) -> None:
    """Prints RP@10 with intervals, and RP@5 and RP@50."""
    table = Table("RP@10 (95 % interval), RP@5 / RP@50", *SETS)
    for name, sets in systems.items():
        cells = [
            f"{r.metrics['rp@10'].percent()}, "
            f"{100 * r.metrics['rp@5'].mean:.1f} / {100 * r.metrics['rp@50'].mean:.1f}"
            for r in sets.values()
        ]
        table.add_row(name, *cells)
    console = Console(width=160)
    console.print(table)
    console.print({key: value for key, value in figures.items() if key != "systems"}, no_wrap=False)


if __name__ == "__main__":
    main()
