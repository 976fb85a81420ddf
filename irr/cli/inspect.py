"""The command `irr inspect`: every stage's output for one text."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from rich.text import Text
from typer import Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.options import ProgramOptions, note_language
from irr.errors import UsageError

if TYPE_CHECKING:
    from irr.types import Candidate, Match, Prediction

# Queries of one text that are shown; a long text has thousands.
_QUERIES = 100
# Features of a candidate's score that are shown by name.
_FEATURES = 6


@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """Which text to look at, and with which program."""

    text: Annotated[str, Option(help="The text, or - for stdin.", metavar="TEXT")]
    top_k: Annotated[int, Option(help="Labels to show.", min=1)] = 10
    program: ProgramOptions


@command("inspect --labels skills.jsonl --text 'You will bake bread and cakes'")
def inspect(options: InspectOptions) -> None:
    """Show what every stage makes of one text."""
    space = options.program.read_space()
    text = options.text
    if text == "-":
        if sys.stdin is None:
            raise UsageError("stdin is closed", "give --text a text")
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    note_language("words of the text", [text], options.program.encoder_name)
    prediction = options.program.build(space)(text, options.top_k, trace=True)
    if prediction.error:
        raise UsageError(f"--text: {prediction.error.message}")
    _show(prediction, options.top_k)


def _show(prediction: Prediction, top_k: int) -> None:
    if prediction.trace is None:
        raise ValueError("the prediction carries no trace")
    queries = Table("kind", "query", title="infer: queries")
    shown = prediction.trace.queries[:_QUERIES]
    for query in shown:
        queries.add_row(query.kind, Text(query.text))
    display.show(queries)
    if more := len(prediction.trace.queries) - len(shown):
        passages = len({query.passage for query in prediction.trace.queries})
        display.say(f"and {more:,} more, from {passages:,} passages in all")
    candidates = Table("score", "label", "evidence: query → entry, match", title="retrieve: candidates")
    for candidate in prediction.trace.candidates[:top_k]:
        evidence = Text("\n".join(_evidence(candidate)))
        candidates.add_row(f"{candidate.score:.3f}", Text(candidate.label.name), evidence)
    display.show(candidates)
    ranking = Table("rank", "score", "id", "label", title="rank: labels")
    for rank, label in enumerate(prediction.labels, 1):
        ranking.add_row(str(rank), f"{label.score:.3f}", Text(label.id), Text(label.name))
    display.show(ranking)
    for fallback in prediction.fallbacks:
        display.say(f"{fallback.stage} did without its language model: {fallback.message}")
    for line in display.costs(prediction.costs):
        display.say(line)


def _evidence(candidate: Candidate) -> list[str]:
    return [
        *map(_pair, candidate.matches),
        *([_words(candidate)] if candidate.word_cosine else []),
        *([f"example {candidate.example:.2f}"] if candidate.example else []),
        *([_contributions(candidate)] if len(candidate.contributions) > 1 else []),
    ]


def _contributions(candidate: Candidate) -> str:
    """The features that weigh most, and the sum of the others: together they are the score."""
    weighty = sorted(candidate.contributions, key=lambda one: -abs(one.value))
    parts = [f"{one.feature} {one.value:+.3f}" for one in weighty[:_FEATURES]]
    if others := weighty[_FEATURES:]:
        parts.append(f"{len(others)} others {sum(one.value for one in others):+.3f}")
    return f"score = {', '.join(parts)}"


def _pair(match: Match) -> str:
    query, entry = display.short(match.query, 40), display.short(match.entry, 40)
    place = "" if match.start is None else f"[{match.start:,}–{match.end:,}] "
    return f"{match.kind} {match.score:.2f}  {place}{query} → {entry}"


def _words(candidate: Candidate) -> str:
    """What words the candidate shares with the passage that speaks for it, and where that is."""
    start, end = candidate.place or (0, 0)
    place = f"[{start:,}–{end:,}] " if candidate.place else ""
    return f"words {place}{candidate.name_recall:.0%} of the name, word cosine {candidate.word_cosine:.2f}"
