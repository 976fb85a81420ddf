"""Judgments become gold: texts with the labels that people gave them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from irr.workbench.review.agreement import agreement
from irr.workbench.review.judgment import Judgment, Verdict
from irr.workbench.review.queue import random_sample


class Exported(BaseModel):
    """What an export holds.

    Attributes:
        rows: Gold, one row a text: `{"id", "text", "labels", "chosen": "random" | "otherwise"}`; a text that
            no label fits has no labels and `"none_fits": true`.
        random: How many of them chance chose.
        none_fits: How many no label fits.
        unsure: Texts that are left out, as people were unsure of them.
        disputed: Texts that people gave different labels.
        shared: Texts that two people or more judged.
        alpha: Krippendorff's alpha of their labels.
    """

    model_config = ConfigDict(frozen=True)

    rows: tuple[dict[str, Any], ...]
    random: int
    none_fits: int
    unsure: int
    disputed: int
    shared: int
    alpha: float | None


def export(judged: Sequence[Judgment], only_random: bool = False) -> Exported:
    """Makes gold of the judgments that hold.

    Where people differ, a label is gold if more than half of those who judged the text gave it.

    Args:
        judged: The judgments that hold, earliest first.
        only_random: Whether only texts count that chance chose.
    """
    chance = {one.text_id for one in random_sample(judged)}
    by_text: dict[str | int, list[Judgment]] = {}
    unsure = set()
    for one in judged:
        if only_random and one.text_id not in chance:
            continue
        if one.verdict is Verdict.UNSURE:
            unsure.add(one.text_id)
        else:
            by_text.setdefault(one.text_id, []).append(one)
    rows = [_row(made, text_id in chance) for text_id, made in by_text.items()]
    shared, alpha = agreement(judged)
    return Exported(
        rows=tuple(rows),
        random=sum(row["chosen"] == "random" for row in rows),
        none_fits=sum("none_fits" in row for row in rows),
        unsure=len(unsure - by_text.keys()),
        disputed=sum(len({frozenset(one.labels) for one in made}) > 1 for made in by_text.values()),
        shared=shared,
        alpha=alpha,
    )


def _row(made: Sequence[Judgment], by_chance: bool) -> dict[str, Any]:
    votes = Counter(label for one in made for label in dict.fromkeys(one.labels))
    labels = [label for label, count in votes.items() if 2 * count > len(made)]
    row: dict[str, Any] = {"id": made[-1].text_id, "text": made[-1].text, "labels": labels}
    row["chosen"] = "random" if by_chance else "otherwise"
    if all(one.verdict is Verdict.NONE_FITS for one in made):
        row["none_fits"] = True
    if notes := [one.note for one in made if one.note]:
        row["notes"] = notes
    return row
