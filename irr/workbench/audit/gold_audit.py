"""An audit of gold: the texts in the order of how suspicious their labels are, with the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from irr import InferRetrieveRank, LabelSpace
from irr.errors import UsageError
from irr.io.texts import GoldRow
from irr.statistics import cross_fitted
from irr.text.strings import counted, short
from irr.workbench.audit.label_findings import Hub, Orphan, Twins, hubs, orphans, twins
from irr.workbench.audit.pairs import (
    FEATURES,
    FROM_OTHER_TEXTS,
    Pairs,
    TextRanking,
    TextRankings,
    pairs_by_text,
    pairs_of,
    rank_texts,
)

# Fewer texts with gold say too little about what is usual.
_FEWEST_TEXTS = 30
# The share of given labels that are supposed to be wrong, and of right ones to be missing.
_ERROR_RATE = 0.05
_TINY = 1e-9
# Findings of a text: the least suspicion, the most findings, and the characters of a quoted text.
_LEAST_SUSPICION = 0.02
_MOST_FINDINGS = 10
_QUOTED = 60


@dataclass(frozen=True)
class GoldFinding:
    """A label that is probably wrong, or missing.

    Attributes:
        kind: Which of the two.
        label: Its id.
        name: Its name.
        suspicion: The probability that the gold errs here, if a twentieth of all labels do.
        probability: The probability that the label belongs to the text, by a curve that did not see the text.
        rank: Its place in the program's ranking, from 1; None outside it.
        why: The reasons, in words.
    """

    kind: Literal["wrong", "missing"]
    label: str
    name: str
    suspicion: float
    probability: float
    rank: int | None
    why: str


class Suspect(BaseModel):
    """A text with its gold, the probability that any of it errs, and what is probably wrong."""

    model_config = ConfigDict(frozen=True)

    id: str | int
    text: str
    labels: tuple[str, ...]
    suspicion: float
    findings: tuple[GoldFinding, ...]


class Audit(BaseModel):
    """The result of an audit.

    Attributes:
        program: Digest of the program that ranked the texts.
        texts: The number of texts.
        suspects: All texts, the most suspicious first.
        unknown: Gold ids that the label space lacks, with the number of texts that have each.
        twins: Labels that cannot be told apart.
        hubs: Labels that are proposed often and hardly ever right.
        orphans: Gold labels that none of their texts reaches.
        unreached: The number of labels that no text reaches.
        added: The supposed probability that a label is given to a text to which it does not belong.
        dropped: The supposed probability that a label is not given to a text to which it belongs.
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
    program: InferRetrieveRank, rows: Sequence[GoldRow], *, on_text: Callable[[], None] = lambda: None
) -> Audit:
    """Audits the gold of some texts.

    Args:
        program: Ranks the texts; a text that is one of its examples is not evidence for itself.
        rows: At least 30 texts with gold; ids that the label space lacks are reported and ignored.
        on_text: Called after each text.

    Raises:
        UsageError: If too few texts have gold that the label space knows, or no text can be ranked.
    """
    space = program.space
    unknown = Counter(label for row in rows for label in dict.fromkeys(row.labels) if label not in space)
    gold = [frozenset(space.number_of[label] for label in row.labels if label in space) for row in rows]
    known = sum(map(bool, gold))
    if known < _FEWEST_TEXTS:
        problem = f"{counted(known, 'text')} with gold: too few to tell what is unusual"
        if unknown:
            problem += f"; {counted(len(unknown), 'gold id is unknown', 'gold ids are unknown')}, as "
            problem += f'"{unknown.most_common(1)[0][0]}"'
        raise UsageError(problem, f"give at least {_FEWEST_TEXTS} with labels of this label space")
    ranked = rank_texts(program, [row.text for row in rows], sorted(frozenset().union(*gold)), on_text)
    if not any(len(one.labels) for one in ranked.texts):
        raise UsageError("the program finds labels for none of the texts", "give texts that hold words")
    pairs, rates = judge(ranked, gold, len(space))
    return Audit(
        program=program.digest,
        texts=len(rows),
        suspects=tuple(_suspects(rows, space, ranked, pairs)),
        unknown=dict(unknown.most_common()),
        twins=tuple(twins(space, ranked, pairs, gold)),
        hubs=tuple(hubs(space, ranked, gold)),
        orphans=tuple(orphans(space, ranked, gold)),
        unreached=len(space) - len({label for one in ranked.texts for label in one.labels.tolist()}),
        added=rates.added,
        dropped=rates.dropped,
    )


class ErrorRates(NamedTuple):
    """The supposed probabilities that a wrong label is given to a text, and that a right one is not."""

    added: float
    dropped: float


def judge(ranked: TextRankings, gold: Sequence[Set[int]], labels: int) -> tuple[Pairs, ErrorRates]:
    """The pairs of all texts with their probability and suspicion, and the error rates of the gold.

    Takes the rankings of the texts, the numbers of the gold labels of each, and the size of the label space.
    """
    pairs = pairs_of(ranked, gold, labels)
    features = np.column_stack([pairs[name] for name in FEATURES])
    from_others = [(FEATURES.index(name),) for name in FROM_OTHER_TEXTS]
    pairs["probability"] = cross_fitted(
        features, pairs["given"], pairs["text"], len(gold), pairs["weight"], from_others
    )
    rates = add_suspicion(pairs)
    return pairs, rates


def add_suspicion(pairs: Pairs) -> ErrorRates:
    """Fills in the suspicion of pairs from their probability, by Bayes' rule, and returns the error rates.

    Labels that belong to a text are given unless they were dropped; others are not given unless they were
    added. The rates are those with which a twentieth of the given labels are wrong, and as many are missing;
    `added` is at least the share of given labels in the less probable half of all pairs.
    """
    p, given, weight = np.clip(pairs["probability"], _TINY, 1 - _TINY), pairs["given"], pairs["weight"]
    order = np.argsort(p, kind="stable")
    lower = order[np.cumsum(weight[order]) <= weight.sum() / 2]
    # One more in both counts, so that the rate is never 0.
    least = float(((weight * given)[lower].sum() + 1) / (weight[lower].sum() + 1))

    def wrong(added: float) -> Any:
        return (1 - p) * added / (p * (1 - _ERROR_RATE) + (1 - p) * added)

    def missing(dropped: float) -> Any:
        return p * dropped / (p * dropped + 1 - p)

    expected = _ERROR_RATE * given.sum()
    added = max(least, _rate(lambda rate: float(wrong(rate)[given].sum()), expected))
    dropped = _rate(lambda rate: float((weight * missing(rate))[~given].sum()), expected)
    pairs["suspicion"] = np.where(given, wrong(added), missing(dropped))
    return ErrorRates(added, dropped)


def _rate(errors: Callable[[float], float], expected: float) -> float:
    """The rate that gives the expected number of errors, by bisection; errors increase with the rate."""
    low, high = _TINY, 0.5
    for _ in range(50):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if errors(middle) < expected else (low, middle)
    return high


def _suspects(
    rows: Sequence[GoldRow], space: LabelSpace, ranked: TextRankings, pairs: Pairs
) -> list[Suspect]:
    """All texts, the most suspicious first; the suspicion of a text is the probability that any pair errs."""
    right = np.log1p(-np.clip(pairs["suspicion"], 0, 1 - 1e-12))
    suspicion = 1 - np.exp(np.bincount(pairs["text"], right, len(rows)))
    of_text = pairs_by_text(pairs, len(rows))
    suspects = []
    for text in np.argsort(-suspicion, kind="stable").tolist():
        row, own = rows[text], of_text[text]
        order = np.argsort(-own["suspicion"], kind="stable")[:_MOST_FINDINGS]
        findings = []
        for pair in own[order][own["suspicion"][order] >= _LEAST_SUSPICION]:
            label, reasons = space[int(pair["label"])], _reasons(pair, ranked.texts[text], space)
            if pair["neighbour"] < 0:
                reasons.append("no other text has it")
            else:
                quoted = short(rows[pair["neighbour"]].text, _QUOTED)
                similarity = f"similarity {pair['neighbour_similarity']:.2f}"
                reasons.append(f'the nearest text that has it: "{quoted}" ({similarity})')
            findings.append(
                GoldFinding(
                    kind="wrong" if pair["given"] else "missing",
                    label=label.id,
                    name=label.name,
                    suspicion=round(float(pair["suspicion"]), 4),
                    probability=round(float(pair["probability"]), 6),
                    rank=int(pair["rank"]) or None,
                    why="; ".join(reasons),
                )
            )
        suspects.append(
            Suspect(
                id=row.id,
                text=row.text,
                labels=row.labels,
                suspicion=round(float(suspicion[text]), 4),
                findings=tuple(findings),
            )
        )
    return suspects


def _reasons(pair: np.void, ranking: TextRanking, space: LabelSpace) -> list[str]:
    """The reasons why a given label may be wrong, or another one missing."""
    rank = pair["rank"]
    reasons = [f"the program ranks it {rank}"] if rank else []
    if pair["given"]:
        if not rank:
            reasons.append(f"the program has it not among its first {len(ranking.labels)}")
        if rank != 1:
            reasons.append(f'it sees "{space[int(ranking.labels[0])].name}"')
        return reasons
    if match := ranking.matches.get(int(pair["label"])):
        reasons.append(f'"{short(match[0], _QUOTED)}" met "{short(match[1], _QUOTED)}"')
    if pair["neighbour_share"] > 0:
        reasons.append(f"{pair['neighbour_share']:.0%} of the texts most like it have it")
    return reasons
