"""The command `irr inspect`: shows every stage's output for one text."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from typer import Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.options import ProgramOptions, note_language
from irr.errors import UsageError
from irr.text.strings import short
from irr.text.words import clean

if TYPE_CHECKING:
    from irr.types import Candidate, Match, Prediction

# Queries of one text that are shown; a long text has thousands.
_QUERIES = 100
# Features of a candidate's score that are shown by name.
_FEATURES = 6


@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """The text and the program."""

    text: Annotated[str, Option(help="The text, or - for stdin.", metavar="TEXT")]
    top_k: Annotated[int, Option(help="Labels to show.", min=1)] = 10
    program: ProgramOptions


@command("inspect --labels skills.jsonl --text 'You will bake bread and cakes'")
def inspect(options: InspectOptions) -> None:
    """Show the output of every stage for one text."""
    space = options.program.read_space()
    text = options.text
    if text == "-":
        if sys.stdin is None:
            raise UsageError("stdin is closed", "give --text a text")
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not clean(text):
        raise UsageError("--text: the text holds nothing to read", "give it words")
    note_language("words of the text", [text], options.program.encoder_name)
    prediction = options.program.build(space)(text, options.top_k, trace=True)
    if prediction.error:
        raise UsageError(f"--text: {prediction.error.message}")
    _show(prediction, options.top_k)


def _show(prediction: Prediction, top_k: int) -> None:
    if prediction.trace is None:
        raise ValueError("the prediction carries no trace")
    shown = prediction.trace.queries[:_QUERIES]
    display.table(("kind", "query"), ((query.kind, query.text) for query in shown), "infer: queries")
    if more := len(prediction.trace.queries) - len(shown):
        passages = len({query.passage for query in prediction.trace.queries})
        display.say(f"and {more:,} more, from {passages:,} passages in all")
    candidates = (
        (f"{candidate.score:.3f}", candidate.label.name, "\n".join(_evidence(candidate)))
        for candidate in prediction.trace.candidates[:top_k]
    )
    display.table(("score", "label", "evidence: query → entry, match"), candidates, "retrieve: candidates")
    ranking = (
        (str(rank), f"{label.score:.3f}", label.id, label.name)
        for rank, label in enumerate(prediction.labels, 1)
    )
    display.table(("rank", "score", "id", "label"), ranking, "rank: labels")
    for fallback in prediction.fallbacks:
        display.say(f"{fallback.stage} worked without its language model: {fallback.message}")
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
    query, entry = short(match.query, 40), short(match.entry, 40)
    place = "" if match.start is None else f"[{match.start:,}–{match.end:,}] "
    return f"{match.kind} {match.score:.2f}  {place}{query} → {entry}"


def _words(candidate: Candidate) -> str:
    """The words that the candidate shares with its best passage, and the place of that."""
    start, end = candidate.place or (0, 0)
    place = f"[{start:,}–{end:,}] " if candidate.place else ""
    return f"words {place}{candidate.name_recall:.0%} of the name, word cosine {candidate.word_cosine:.2f}"
