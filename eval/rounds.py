"""What reviewed texts are worth: rounds of reviews in which the gold plays the reviewer, by order of texts.

After each round the texts reviewed so far are examples of the program, which is calibrated on them, and the
program is scored on texts that nobody reviews.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irr.calibrate.fit import FEWEST_TEXTS, calibrate
from irr.encoders.sentence_transformers import SentenceEncoder
from irr.errors import UsageError
from irr.evaluate.metrics import rp_at_k
from irr.io.texts import GoldRow
from irr.labels.space import LabelSpace
from irr.program.program import InferRetrieveRank, build
from irr.statistics import estimate, paired_bootstrap
from irr.types import Example
from irr.workbench.review.judgments import Judgment, Order, Verdict
from irr.workbench.review.session import ReviewQueue

ROUNDS, SIZE = 10, 20
DEPTHS = (1, 10)


class Remembering(SentenceEncoder):
    """The default encoder, which encodes each text once however many programs ask for it."""

    def __init__(self) -> None:
        super().__init__()
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns what the encoder returned the first time."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, super().encode(new), strict=True))
        return np.array([self._vectors[text] for text in texts], np.float32)


# By order and depth k, for each round the RP@k of every held text.
Run = dict[Order, dict[int, list[list[float]]]]


def reviewed(
    space: LabelSpace, rows: Sequence[GoldRow], held: int, seed: int, orders: Sequence[Order]
) -> Iterator[Run]:
    """Reviews by each order, round by round, and scores the program after each round.

    Args:
        space: The labels.
        rows: Texts with gold.
        held: How many of them nobody reviews, to score the program on.
        seed: Of the split, and of the random order.
        orders: By what texts are chosen.

    Yields:
        After each round all scores so far; the first are from before any review.
    """
    shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    test, pool = shuffled[:held], shuffled[held:]
    encoder = Remembering()
    chosen: dict[Order, list[int]] = {order: [] for order in orders}
    run: Run = {order: {k: [] for k in DEPTHS} for order in orders}
    for number in range(ROUNDS + 1):
        for order, mine in chosen.items():
            program = _program(space, encoder, [pool[i] for i in mine])
            for k, values in _scores(program, test).items():
                run[order][k].append(values)
            if number < ROUNDS:
                mine += _next(program, pool, mine, order, seed)
        yield run


def _program(space: LabelSpace, encoder: SentenceEncoder, known: Sequence[GoldRow]) -> InferRetrieveRank:
    examples = [Example(text=row.text, labels=row.labels) for row in known]
    program = build(space, encoder=encoder, examples=examples)
    if len(known) < FEWEST_TEXTS:
        return program
    try:
        return calibrate(program, known)
    except UsageError:  # too few of them have an answer
        return program


def _scores(program: InferRetrieveRank, test: Sequence[GoldRow]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {k: [] for k in DEPTHS}
    for row, prediction in zip(test, program.batch([row.text for row in test], max(DEPTHS)), strict=True):
        ranking = [label.id for label in prediction.labels]
        for k in DEPTHS:
            found[k].append(rp_at_k(ranking, set(row.labels), k))
    return found


def _next(
    program: InferRetrieveRank, pool: Sequence[GoldRow], chosen: Sequence[int], order: Order, seed: int
) -> list[int]:
    """The texts of the next round, as the review page gives them out."""
    queue = ReviewQueue(pool, seed)
    if order is Order.UNSURE:
        queue.read(program.batch([row.text for row in pool]))
    judged = [_judgment(pool[i], order) for i in chosen]
    found = []
    for _ in range(SIZE):
        number = queue.next(order, "gold", judged)
        assert number is not None
        found.append(number)
        judged.append(_judgment(pool[number], order))
    return found


def _judgment(row: GoldRow, order: Order) -> Judgment:
    return Judgment(
        key=str(row.id),
        reviewer="gold",
        at=datetime.now(UTC),
        text_id=row.id,
        text=row.text,
        verdict=Verdict.LABELS,
        labels=row.labels,
        order=order,
        program="",
    )


def summed_up(runs: Sequence[Run]) -> dict[str, Any]:
    """The curve of each order, and its difference to random after the last round and over all rounds."""
    orders = list(runs[0])
    figures: dict[str, Any] = {}
    for k in DEPTHS:
        rounds = min(len(run[order][k]) for run in runs for order in orders)
        # All seeds together: shape (rounds, texts).
        values = {o: np.concatenate([np.array(run[o][k][:rounds]) for run in runs], axis=1) for o in orders}
        figures["reviewed"] = [SIZE * number for number in range(rounds)]
        figures[f"rp@{k}"] = {o: [estimate(row.tolist()).percent() for row in values[o]] for o in orders}
        means = {o: of[1:].mean(axis=0) if rounds > 1 else of[0] for o, of in values.items()}
        for o in orders:
            if o is not Order.RANDOM and Order.RANDOM in orders:
                figures[f"rp@{k}, {o} against random"] = {
                    "last round": paired_bootstrap(values[o][-1], values[Order.RANDOM][-1]).percent(),
                    "mean of rounds": paired_bootstrap(means[o], means[Order.RANDOM]).percent(),
                }
    return figures
