"""Which text comes next, what is a random sample, and what an export makes of judgments."""

from __future__ import annotations

import pytest

from irr.errors import UsageError
from irr.io.texts import TextRow
from irr.types import Prediction, RankedLabel
from irr.workbench.review.judgments import Judgment, Order, Verdict, random_position, random_sample
from irr.workbench.review.session import ReviewQueue
from irr.workbench.review.summary import export_gold, progress
from tests.workbench.review.test_store import judgment

IDS = [f"text {number}" for number in range(12)]
# Neighbours share a word; the last ones share none with any.
TEXTS = [f"word{number} word{number + 1}" for number in range(10)] + ["bread", "butter"]


def queue() -> ReviewQueue:
    """Of twelve texts, the program has read all but the last two; the third is the least sure."""
    found = ReviewQueue([TextRow(id=name, text=text) for name, text in zip(IDS, TEXTS, strict=True)], seed=1)
    probabilities = [0.9, 0.8, 0.5, 0.95, 0.7, 0.99, 0.6, 0.85, 0.97, 0.98]
    found.read(
        Prediction(labels=(RankedLabel(id=f"label {n % 2}", name="", score=1.0, probability=p),))
        for n, p in enumerate(probabilities)
    )
    return found


def drained(queue: ReviewQueue, order: Order, label: str | None = None) -> list[int]:
    """All texts in an order, each judged before the next is asked for."""
    made: list[Judgment] = []
    numbers: list[int] = []
    while (number := queue.next(order, "ada", made, label)) is not None:
        numbers.append(number)
        made.append(judgment(len(made), text_id=IDS[number], order=order))
    return numbers


def test_each_order_gives_every_text_of_its_kind_once() -> None:
    def of(order: Order, label: str | None = None) -> list[int]:
        return drained(queue(), order, label)

    assert of(Order.LISTED) == list(range(12))
    assert of(Order.UNSURE) == [2, 6, 4, 1, 7, 0, 3, 8, 9, 5]
    assert of(Order.LABEL, "label 1") == [5, 9, 3, 7, 1]
    by_chance = of(Order.RANDOM)
    assert sorted(by_chance) == list(range(12))
    assert by_chance == sorted(range(12), key=lambda number: random_position(1, IDS[number]))
    different = of(Order.DIFFERENT)
    assert sorted(different) == list(range(12))
    assert abs(different[0] - different[1]) > 1
    assert abs(different[1] - different[2]) > 1
    with pytest.raises(UsageError, match="names no label"):
        of(Order.LABEL)


def test_two_people_are_not_given_the_same_text_but_for_second_opinions() -> None:
    shared = queue()
    given = [shared.next(Order.UNSURE, name, []) for name in ("ada", "bob", "ada")]
    assert given == [2, 6, 2], "what is open stays with its person"
    made = [judgment(0, text_id=IDS[5])]
    assert shared.next(Order.SECOND, "ada", made) is None
    assert shared.next(Order.SECOND, "bob", made) == 5
    made.append(judgment(1, text_id=IDS[5], reviewer="bob"))
    assert shared.next(Order.SECOND, "bob", made) is None


def test_chance_chose_all_up_to_the_last_random_text_and_no_other() -> None:
    by_chance = [IDS[n] for n in drained(queue(), Order.RANDOM)]
    unsure = [judgment(n, text_id=text, order=Order.UNSURE) for n, text in enumerate(by_chance[::3])]
    assert random_sample(unsure) == []
    reached = judgment(20, text_id=by_chance[4], order=Order.RANDOM, seed=1)
    assert [one.text_id for one in random_sample([*unsure, reached])] == [
        by_chance[0],
        by_chance[3],
        by_chance[4],
    ]


def test_an_export_takes_what_most_people_said_and_says_what_chance_chose() -> None:
    made = [
        judgment(1, text_id="a", labels=("bake", "cook"), order=Order.RANDOM),
        judgment(2, text_id="a", labels=("bake",), reviewer="bob"),
        judgment(3, text_id="b", labels=(), verdict=Verdict.NONE_FITS, note="a poem"),
        judgment(4, text_id="c", labels=(), verdict=Verdict.UNSURE),
    ]
    found = export_gold(made)
    chosen = {row["id"]: row for row in found.rows}
    assert chosen["a"]["labels"] == ["bake"]
    assert chosen["a"]["chosen"] == "random"
    assert (chosen["b"]["none_fits"], chosen["b"]["notes"], chosen["b"]["labels"]) == (True, ["a poem"], [])
    assert (found.none_fits, found.unsure, found.disputed, found.shared) == (1, 1, 1, 1)
    assert "a" in {row["id"] for row in export_gold(made, only_random=True).rows}
    assert (
        random_position(0, "b") > random_position(0, "a")
        or len(export_gold(made, only_random=True).rows) == 2
    )


def test_precision_narrows_with_the_random_sample_alone() -> None:
    sure = RankedLabel(id="bake", name="bake bread", score=1.0, probability=0.9)
    unlikely = RankedLabel(id="cook", name="cook", score=0.5, probability=0.1)
    made = [
        judgment(n, order=Order.RANDOM, proposed=(sure, unlikely), labels=("bake",) if n % 4 else ("cook",))
        for n in range(200)
    ]
    found = progress(made, "ada", texts=500, known=500)
    first, last = found["precision"][9], found["precision"][-1]
    assert last["texts"] == found["random"] == 200
    assert last["mean"] == 0.75
    assert last["low"] < 0.75 < last["high"]
    assert last["high"] - last["low"] < 0.7 * (first["high"] - first["low"])
    not_random = [one.model_copy(update={"order": Order.UNSURE}) for one in made]
    assert progress(not_random, "ada", 9, 9)["precision"] == []
