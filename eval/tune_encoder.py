"""Whether tuning the encoder pays: contrastive tuning on one half of a dev set, judged on the other half.

python -m eval.tune_encoder --data DIR --name tune_encoder      # pip install datasets
python -m eval.tune_encoder --data DIR --sets clinc150/dev

Each half is judged once, by an encoder that has seen the other half and the label space. The tuned encoder
and the encoder as it comes stand in programs that are alike otherwise, with the other half as examples.
Pairs: a text or its best matching span and the name of a gold label, an alias or the beginning of a
description and its label's name; each with a hard negative, the wrong label that the program puts highest or
the name that is nearest (MultipleNegativesRanking, Henderson et al. 2017, arXiv 1705.00652).
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
from irr.builder import build
from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder, model_folder
from irr.evaluate.evaluate import evaluate
from irr.evaluate.metrics import estimate, paired_bootstrap
from irr.io.texts import GoldRow, read_gold
from irr.labels.space import LabelSpace
from irr.pipeline import InferRetrieveRank

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
    scores: dict[str, list[float]] = {"as it comes": [], "tuned": []}
    pairs = 0
    told = of_labels(space)
    for seen, unseen in (halves, halves[::-1]):
        examples = [{"text": row.text, "labels": row.labels} for row in seen]
        plain = build(space, settings=settings, examples=examples)
        training = [*of_gold(plain, seen), *told]
        pairs += len(training)
        with tempfile.TemporaryDirectory() as folder:
            encoder = SentenceEncoder(tune(training, Path(folder)))
            tuned = build(
                space, encoder=encoder, settings=settings, examples=examples, index_folder=f"{folder}/index"
            )
            for name, program in (("as it comes", plain), ("tuned", tuned)):
                scores[name] += evaluate(program, unseen).per_text.scores["rp@10"]
    difference = paired_bootstrap(scores["tuned"], scores["as it comes"])
    return {
        "texts": len(rows),
        "labels": len(space),
        "pairs_a_half": pairs // 2,
        **{name: estimate(values).percent() for name, values in scores.items()},
        "tuned against as it comes": difference.model_dump(),
    }


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
    from sentence_transformers.losses import MultipleNegativesRankingLoss

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
    table = Table("RP@10 (95 % interval)", "as it comes", "tuned", "difference")
    for name, found in figures["sets"].items():
        gain = found["tuned against as it comes"]
        between = f"{100 * gain['mean']:+.1f} ({100 * gain['low']:.1f} – {100 * gain['high']:.1f})"
        table.add_row(name, found["as it comes"], found["tuned"], between)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
