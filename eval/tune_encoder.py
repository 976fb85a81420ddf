"""Whether tuning the encoder pays beside weights fitted to examples: contrastive tuning on half a dev set.

python -m eval.tune_encoder --data DIR --name tune_encoder      # pip install datasets accelerate
python -m eval.tune_encoder --data DIR --sets clinc150/dev

Each half is scored once by an encoder that was tuned on the other half and the label space, and once by the
encoder as it comes; every text has all others as examples. Both are scored with the default weights and, as
`irr optimize` fits them, with weights cross-validated: on all texts for the encoder as it comes, on the half
that it has not seen for a tuned one. Pairs: a text or its best matching span and the name of a gold label, an
alias or the beginning of a description and its label's name; each with a hard negative, the wrong label that
the program puts highest or the name that is nearest (MultipleNegativesRanking, Henderson et al. 2017, arXiv
1705.00652).
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from eval.record import record
from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder, model_folder
from irr.index.store import open_index
from irr.io.texts import GoldRow, read_gold
from irr.labels.space import LabelSpace
from irr.optimize.scorer import Plan, Scorer
from irr.optimize.tuning import fit_by_cross_validation
from irr.program.program import InferRetrieveRank, build
from irr.prompts.pack import load_task
from irr.statistics import estimate, paired_bootstrap

_EPOCHS, _BATCH, _RATE = 2, 32, 2e-5
_MOST_OF_LABELS = 2_000
_DESCRIPTION_CHARACTERS = 200


class Set(NamedTuple):
    """A dev set, and what of a label its texts are matched with."""

    pack: str
    file: str
    settings: Settings


class Pair(NamedTuple):
    """An anchor, the name that it should be near to, and one that it should not."""

    anchor: str
    positive: str
    negative: str


class Scores(NamedTuple):
    """RP@10 of each text with the default weights, and with weights fitted to other texts."""

    default: list[float]
    own: list[float]


SETS = {
    "clinc150/dev": Set("clinc150", "dev", Settings()),
    "attack/dev": Set("attack", "dev", Settings()),
    "attack/annoctr_dev": Set("attack", "annoctr_dev", Settings()),
    # All entries would be encoded four times.
    "esco/dev": Set("esco", "dev", Settings().replace({"retrieve.fields": ["name"]})),
}


def main() -> None:
    """Tunes, judges and records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=[*SETS], choices=list(SETS))
    parser.add_argument("--name", help="record the result under this name")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"epochs": _EPOCHS, "batch": _BATCH, "learning_rate": _RATE, "sets": {}}
    for name in arguments.sets:
        one = SETS[name]
        space = LabelSpace.read(arguments.data / one.pack / "labels.jsonl")
        rows = read_gold(arguments.data / one.pack / f"{one.file}.jsonl", space)
        figures["sets"][name] = judged(space, rows, one.settings)
        show(figures)
        if arguments.name:
            record(arguments.name, figures)


def judged(space: LabelSpace, rows: Sequence[GoldRow], settings: Settings) -> dict[str, Any]:
    """RP@10 of each text by the encoder as it comes and by one that was tuned on the other half."""
    rows = [row for row in rows if row.labels]
    random.Random(0).shuffle(rows)
    halves = rows[::2], rows[1::2]
    told = of_labels(space)
    pairs = 0
    tuned: list[Scores] = []
    with tempfile.TemporaryDirectory() as folder:
        as_it_comes = scores(
            space, SentenceEncoder(), halves, rows=[*halves[1], *halves[0]], settings=settings
        )
        for number, (seen, unseen) in enumerate((halves, halves[::-1])):
            examples = [{"text": row.text, "labels": row.labels} for row in seen]
            plain = build(space, settings=settings, examples=examples)
            training = [*of_gold(plain, seen), *told]
            pairs += len(training)
            encoder = SentenceEncoder(tune(training, Path(folder) / str(number)))
            tuned.append(scores(space, encoder, (seen, unseen), rows=unseen, settings=settings))
    joined = Scores(*([*one, *other] for one, other in zip(*tuned, strict=True)))
    return {
        "texts": len(rows),
        "labels": len(space),
        "pairs_a_half": pairs // 2,
        "as it comes": estimate(as_it_comes.default).percent(),
        "tuned": estimate(joined.default).percent(),
        "as it comes, own weights": estimate(as_it_comes.own).percent(),
        "tuned, own weights": estimate(joined.own).percent(),
        "tuned against as it comes": paired_bootstrap(joined.default, as_it_comes.default).model_dump(),
        "the same, own weights": paired_bootstrap(joined.own, as_it_comes.own).model_dump(),
    }


def scores(
    space: LabelSpace,
    encoder: SentenceEncoder,
    halves: Sequence[Sequence[GoldRow]],
    *,
    rows: Sequence[GoldRow],
    settings: Settings,
) -> Scores:
    """RP@10 of these texts by an encoder, all texts of both halves being examples for the others."""
    plan = Plan(settings, load_task("default"))
    with tempfile.TemporaryDirectory() as root:
        index = open_index(space, encoder, settings.retrieve.fields, Path(root))
        texts = Scorer(index, encoder, *halves).judged(plan, rows)
    default = [text.rank_precision(plan.combination) for text in texts]
    fitted = fit_by_cross_validation(texts, plan.combination, seed=0)
    own = np.zeros(len(texts))
    if fitted is not None:
        own[[text.right.any() for text in texts]] = fitted.after
    return Scores(default, own.tolist())


def of_gold(program: InferRetrieveRank, rows: Sequence[GoldRow]) -> Iterator[Pair]:
    """Each text, and its best matching span, with each gold label that was found for it."""
    predictions = program.batch([row.text for row in rows], 10, trace=True)
    for row, prediction in zip(rows, predictions, strict=True):
        candidates = prediction.trace.candidates if prediction.trace else ()
        wrong = next((one.label.name for one in candidates if one.label.id not in row.labels), None)
        for candidate in candidates:
            if wrong and candidate.label.id in row.labels:
                anchors = {row.text, *(match.query for match in candidate.matches)}
                for anchor in sorted(anchors - {candidate.label.name}):
                    yield Pair(anchor, candidate.label.name, wrong)


def of_labels(space: LabelSpace) -> list[Pair]:
    """Aliases and descriptions with the name of their label, and with the nearest other name."""
    told = [
        (other, number)
        for number, label in enumerate(space)
        for other in (*label.aliases, (label.description or "")[:_DESCRIPTION_CHARACTERS])
        if other
    ]
    random.Random(0).shuffle(told)
    told = told[:_MOST_OF_LABELS]
    names = [label.name for label in space]
    encoder = SentenceEncoder()
    near = encoder.encode([other for other, _ in told]) @ encoder.encode(names).T
    near[np.arange(len(told)), [number for _, number in told]] = -1
    nearest = near.argmax(axis=1)
    return [Pair(other, names[number], names[i]) for (other, number), i in zip(told, nearest, strict=True)]


def tune(pairs: Sequence[Pair], folder: Path) -> str:
    """Tunes the default encoder on these pairs, and returns the folder of the tuned one."""
    import torch
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = SentenceTransformer(str(model_folder(SentenceEncoder().name)))
    columns = {name: [getattr(pair, name) for pair in pairs] for name in Pair._fields}
    told = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "steps"),
        num_train_epochs=_EPOCHS,
        per_device_train_batch_size=_BATCH,
        learning_rate=_RATE,
        warmup_steps=0.1,
        batch_sampler="no_duplicates",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=0,
        use_cpu=not torch.cuda.is_available(),
    )
    loss = MultipleNegativesRankingLoss(model)
    SentenceTransformerTrainer(model, told, train_dataset=Dataset.from_dict(columns), loss=loss).train()
    model.save_pretrained(str(folder / "tuned"))
    return str(folder / "tuned")


def show(figures: dict[str, Any]) -> None:
    """Prints RP@10 with intervals."""
    table = Table("RP@10 (95 % interval)", "as it comes", "tuned", "the same, own weights", "", "difference")
    for name, found in figures["sets"].items():
        gain = found["the same, own weights"]
        between = f"{100 * gain['mean']:+.1f} ({100 * gain['low']:.1f} – {100 * gain['high']:.1f})"
        own = (found["as it comes, own weights"], found["tuned, own weights"])
        table.add_row(name, found["as it comes"], found["tuned"], *own, between)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
