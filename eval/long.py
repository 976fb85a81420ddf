"""Quality on long texts, beside a plain encoder: the cosine of the whole text with what labels say.

python -m eval.long --labels DIR/labels.jsonl --gold DIR/reports_test.jsonl --restrict DIR/dev.jsonl ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from eval.record import finish, options
from irr.config import Settings
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.evaluate.evaluate import evaluate
from irr.hub import cache_folder
from irr.index.store import open_index
from irr.io.texts import read_gold
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank, build
from irr.retrieve.retriever import LabelRetriever
from irr.types import Inference, Prediction, Query, QueryKind

SHOWN = ("rp@5", "rp@10", "rp@50")
# Cosine alone.
PLAIN: dict[str, float] = {
    "retrieve.text_weight": 1.0,
    "retrieve.span_weight": 0.0,
    "retrieve.redundancy_penalty": 0.0,
    "retrieve.name_recall_weight": 0.0,
    "retrieve.word_cosine_weight": 0.0,
    "retrieve.parent_share": 0.0,
    "retrieve.alias_margin": 0.0,
    "retrieve.description_margin": 0.0,
    "retrieve.prior_weight": 0.0,
}


class WholeText:
    """An inferer whose only query is the text: the encoder reads as much of it as fits its window."""

    def infer(self, texts: Sequence[str]) -> list[Inference]:
        """Returns one query a text."""
        return [Inference(queries=(Query(text=text, kind=QueryKind.TEXT),)) for text in texts]


class Restricted:
    """A program that answers with some of its labels only."""

    def __init__(self, program: InferRetrieveRank, ids: set[str]) -> None:
        self.digest = program.digest
        self._program = program
        self._ids = ids

    def batch(self, texts: Iterable[str], top_k: int, trace: bool) -> Iterator[Prediction]:
        """Yields predictions, ranked over all labels, of those that are asked for."""
        for prediction in self._program.batch(texts, len(self._program.space), trace):
            labels = tuple(label for label in prediction.labels if label.id in self._ids)
            yield prediction.model_copy(update={"labels": labels[:top_k]})


def main() -> None:
    """Evaluates both programs on each set, prints a table, and records it."""
    parser = options(__doc__)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--gold", type=Path, nargs="+", required=True)
    parser.add_argument("--restrict", type=Path, nargs="*", help="count only labels that are gold in these")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings to change")
    parser.add_argument("--limit", type=int, help="only the first texts of each set")
    arguments = parser.parse_args()

    settings = Settings().replace(dict(item.split("=", 1) for item in arguments.set))
    space = LabelSpace.read(arguments.labels)
    encoder = SentenceEncoder()
    plain = settings.replace(PLAIN)
    index = open_index(space, encoder, settings.retrieve.fields, cache_folder("indexes"))
    retriever = LabelRetriever(index, encoder, plain.retrieve)
    whole = build(space, encoder=encoder, settings=plain)
    programs = {
        "whole-text cosine": replace(
            whole, stages=replace(whole.stages, inferer=WholeText(), retriever=retriever)
        ),
        "irr": build(space, encoder=encoder, settings=settings),
    }
    some = {
        label for path in arguments.restrict or () for row in read_gold(path, space) for label in row.labels
    }
    sets: dict[str, Any] = {}
    for gold in arguments.gold:
        rows = read_gold(gold, space)[: arguments.limit]
        for name, program in programs.items():
            answering = cast(InferRetrieveRank, Restricted(program, some)) if some else program
            report = evaluate(answering, rows)
            sets.setdefault(gold.stem, {})[name] = report.as_json(per_text=False)
            print(gold.stem, name, {metric: report.metrics[metric].percent() for metric in SHOWN}, flush=True)
    result = {"settings": settings.flat(), "restricted_to": len(some), "sets": sets}
    finish(result, arguments.name, show=False)


if __name__ == "__main__":
    main()
