"""What a strong language model is worth: recorded answers on ESCO, settings chosen on dev, scores on test.

python -m eval.recorded --data DIR [--name recorded]

DIR holds esco/ (labels.jsonl, dev.jsonl, the three test sets) and recorded/esco.jsonl: for each answer the id
of its text, the stage, whether the prompt showed the task's two demos or the five nearest dev examples, and
the model's answer. The first rows are the default settings; then the weight of the ranking is chosen on dev.
A test set is the part of it that was recorded; dev has no sentence that is a test sentence, too.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.record import finish, options
from irr.config import HYPERPARAMETERS, Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.evaluation.evaluate import Evaluation, evaluate
from irr.io.texts import GoldRow, read_gold
from irr.labels.space import LabelSpace
from irr.lm.protocol import LanguageModel
from irr.lm.recorded import RecordedAnswer, RecordedModel
from irr.program.program import InferRetrieveRank, build
from irr.statistics import paired_bootstrap
from irr.tune.tuning import CachingEncoder

SETS = ("house", "tech", "techwolf")
DEMOS = {"task": "two demos of the task", "near": "five nearest dev examples"}
_WEIGHT = "rank.listwise_weight"


@dataclass(frozen=True)
class Recorded:
    """Recorded answers and the texts that they are of.

    Attributes:
        space: The label space.
        dev: The dev texts that are not test texts.
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
    for demos in DEMOS:
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
    recorded: Recorded, index_folder: Path | None, figures: dict[str, Any]
) -> Iterator[tuple[str, InferRetrieveRank]]:
    """Each program that is evaluated, with its name."""
    encoder = CachingEncoder(SentenceEncoder())

    def built(
        infer_lm: LanguageModel | None, rank_lm: LanguageModel | None, settings: Settings | None = None
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

    models = {demos: recorded.model(demos) for demos in DEMOS}
    yield "no language model", built(None, None)
    yield "its terms", built(models["task"], None)
    for demos, model in models.items():
        yield f"its terms and its ranking, {DEMOS[demos]}", built(model, model)
    task = models["task"]
    settings, figures["dev"] = chosen(recorded, lambda settings: built(task, task, settings))
    for demos, model in models.items():
        yield f"the same, weight chosen on dev, {DEMOS[demos]}", built(model, model, settings)


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


def compared(
    sets: Mapping[str, Evaluation], other: Mapping[str, Evaluation], name: str = "gain rp@10"
) -> dict[str, Any]:
    """The scores on each set, and the difference in RP@10 to another program on the same texts."""
    return {
        of: {
            **report.as_json(per_text=False),
            name: paired_bootstrap(
                report.per_text.scores["rp@10"], other[of].per_text.scores["rp@10"]
            ).model_dump(),
        }
        for of, report in sets.items()
    }


def main() -> None:
    """Evaluates the program with and without the model, and records the figures."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--index-folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recorded = read(arguments.data, Path(folder))
        figures: dict[str, Any] = {"texts": {name: len(rows) for name, rows in recorded.test.items()}}
        systems: dict[str, dict[str, Evaluation]] = {}
        for name, program in programs(recorded, arguments.index_folder, figures):
            systems[name] = {of: evaluate(program, rows) for of, rows in recorded.test.items()}
            if without := sum(report.fallbacks for report in systems[name].values()):
                raise SystemExit(f"{name}: {without} texts have no recorded answer; no figures are recorded")
            if isinstance(model := program.models.rank_lm, RecordedModel):
                figures.setdefault("candidates never shown", {})[name] = round(model.unseen / model.shown, 4)
            print(name, {of: report.metrics["rp@10"].percent() for of, report in systems[name].items()})
    first = next(iter(systems.values()))
    figures["systems"] = {name: compared(sets, first) for name, sets in systems.items()}
    finish(figures, arguments.name, show=False)


if __name__ == "__main__":
    main()
