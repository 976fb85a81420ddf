"""An audit of gold: the texts by how suspicious their labels are, and what is wrong with the labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from irr.errors import UsageError
from irr.io.texts import GoldRow
from irr.program.program import InferRetrieveRank
from irr.text.strings import counted
from irr.workbench.audit.findings import Suspect, suspects
from irr.workbench.audit.labels import Hub, Orphan, Twins, hubs, orphans, twins, unreached
from irr.workbench.audit.noise import cross_fitted, estimate_noise
from irr.workbench.audit.reading import Readings, read
from irr.workbench.audit.slots import Slots, slots_of

Floats = NDArray[np.float64]
# Fewer texts with gold say too little about what is usual.
FEWEST_TEXTS = 30


class Audit(BaseModel):
    """What an audit found.

    Attributes:
        program: Digest of the program that read the texts.
        texts: How many there are.
        suspects: All texts, the most suspicious first.
        unknown: Gold ids that the label space lacks, and how many texts have each.
        twins: Labels that cannot be told apart.
        hubs: Labels that are proposed often and hardly ever right.
        orphans: Gold labels that none of their texts reaches.
        unreached: How many labels no text reaches.
        added: The probability of a label that does not belong to a text to be given, as supposed.
        dropped: The probability of a label that belongs to a text not to be given, as supposed.
    """

    model_config = ConfigDict(frozen=True)

    program: str
    texts: int
    suspects: tuple[Suspect, ...]
    unknown: dict[str, int]
    twins: tuple[Twins, ...]
    hubs: tuple[Hub, ...]
    orphans: tuple[Orphan, ...]
    unreached: int
    added: float
    dropped: float


def audit(
    program: InferRetrieveRank,
    rows: Sequence[GoldRow],
    *,
    index_folder: str | Path | None = None,
    on_text: Callable[[], None] = lambda: None,
) -> Audit:
    """Audits the gold of some texts.

    Args:
        program: Reads the texts; those that are its examples do not speak for themselves.
        rows: At least 30 texts with gold; ids that the label space lacks are reported and count for nothing.
        index_folder: Where the program's index is kept; the user's cache folder if None.
        on_text: Called after each text.

    Raises:
        UsageError: If too few texts have gold that the label space knows, or none can be read.
    """
    space = program.space
    unknown = Counter(label for row in rows for label in dict.fromkeys(row.labels) if label not in space)
    gold = [frozenset(space.number_of[label] for label in row.labels if label in space) for row in rows]
    _check_texts(gold, unknown)
    used = sorted(frozenset().union(*gold))
    readings = read(program, [row.text for row in rows], used, index_folder=index_folder, on_text=on_text)
    if not any(len(one.labels) for one in readings.texts):
        raise UsageError("the program finds labels for none of the texts", "give texts that hold words")
    slots, probability, suspicion, rates = judged(readings, gold, len(space))
    return Audit(
        program=program.digest,
        texts=len(rows),
        suspects=tuple(suspects(rows, space, readings, slots, (probability, suspicion))),
        unknown=dict(unknown.most_common()),
        twins=tuple(twins(space, readings, slots, probability, gold)),
        hubs=tuple(hubs(space, readings, gold)),
        orphans=tuple(orphans(space, readings, gold)),
        unreached=unreached(space, readings),
        added=rates[0],
        dropped=rates[1],
    )


def _check_texts(gold: Sequence[frozenset[int]], unknown: Counter[str]) -> None:
    known = sum(map(bool, gold))
    if known >= FEWEST_TEXTS:
        return
    problem = f"{counted(known, 'text')} with gold: too few to tell what is unusual"
    if unknown:
        problem += f"; {counted(len(unknown), 'gold id is no label', 'gold ids are no labels')}, as "
        problem += f'"{unknown.most_common(1)[0][0]}"'
    raise UsageError(problem, f"give at least {FEWEST_TEXTS} with labels of this label space")


def judged(
    readings: Readings, gold: Sequence[frozenset[int]], labels: int
) -> tuple[Slots, Floats, Floats, tuple[float, float]]:
    """The slots of all texts, their probabilities and suspicions, and how often labels are added and dropped.

    Args:
        readings: The texts as the program reads them.
        gold: The gold labels of each, by number.
        labels: How many labels there are.
    """
    slots = slots_of(readings, gold, labels)
    probability = cross_fitted(slots, len(gold))
    noise = estimate_noise(probability, slots.given, slots.weight)
    return slots, probability, noise.suspicion, (noise.added, noise.dropped)
