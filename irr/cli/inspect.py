"""The command `irr inspect`: shows every stage's output for one text."""

from __future__ import annotations

import sys
from typing import Annotated

import irr
from irr.cli import display, options
from irr.cli.options import value
from irr.errors import UsageError
from irr.text.strings import short
from irr.text.words import clean

# Queries of one text that are shown; a long text has thousands.
_QUERIES = 100
# Features of a candidate's score that are shown by name.
_FEATURES = 6


def inspect(
    text: Annotated[str, value("The text, or - for stdin.", "TEXT")],
    top_k: Annotated[int, value("Labels to show.", min=1)] = 10,
    labels: options.Labels = None,
    language: options.Language = None,
    columns: options.ColumnNames = None,
    encoder: options.Encoder = None,
    fields: options.Fields = None,
    hierarchy: options.HierarchyChoice = None,
    settings: options.SettingValues = None,
    index_folder: options.IndexFolder = None,
    index_server: options.IndexServer = None,
    lm: options.LM = None,
    api_base: options.APIBase = None,
    infer_lm: options.InferLM = None,
    rank_lm: options.RankLM = None,
    rank_method: options.RankMethodChoice = "auto",
    task: options.Task = None,
    program: options.Program = None,
    rebind: options.Rebind = False,
    within: options.Within = None,
    only: options.Only = None,
    without: options.Without = None,
) -> None:
    """Show the output of every stage for one text."""
    from irr.cli.program_options import ProgramOptions

    source = ProgramOptions.of(locals())
    space = source.read_space()
    if text == "-":
        if sys.stdin is None:
            raise UsageError("stdin is closed", "give --text a text")
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not clean(text):
        raise UsageError("--text: the text holds nothing to read", "give it words")
    source.note_language("words of the text", [text])
    prediction = source.build(space)(text, top_k, trace=True)
    if prediction.error:
        raise UsageError(f"--text: {prediction.error.message}")
    _show_stages(prediction, top_k)


def _show_stages(prediction: irr.Prediction, top_k: int) -> None:
    assert prediction.trace is not None
    queries = prediction.trace.queries
    shown = ((query.kind, query.text) for query in queries[:_QUERIES])
    display.table(("kind", "query"), shown, "infer: queries")
    if len(queries) > _QUERIES:
        passages = len({query.passage for query in queries})
        display.say(f"and {len(queries) - _QUERIES:,} more, from {passages:,} passages in all")
    first = prediction.trace.candidates[:top_k]
    candidates = ((f"{one.score:.3f}", one.label.name, "\n".join(_evidence(one))) for one in first)
    display.table(("score", "label", "evidence: query → entry, match"), candidates, "retrieve: candidates")
    ranked = enumerate(prediction.labels, 1)
    ranking = ((rank, f"{label.score:.3f}", label.id, label.name) for rank, label in ranked)
    display.table(("rank", "score", "id", "label"), ranking, "rank: labels")
    for fallback in prediction.fallbacks:
        display.say(f"{fallback.stage} worked without its language model: {fallback.message}")
    for line in display.costs(prediction.costs):
        display.say(line)


def _evidence(candidate: irr.Candidate) -> list[str]:
    """The matches, words and examples that speak for a candidate, and what adds up to its score."""
    lines = [
        f"{match.kind} {match.score:.2f}  {_place(match.start, match.end)}"
        f"{short(match.query, 40)} → {short(match.entry, 40)}"
        for match in candidate.matches
    ]
    if candidate.word_cosine:
        place = _place(*(candidate.place or (None, None)))
        words = f"{candidate.name_recall:.0%} of the name, word cosine {candidate.word_cosine:.2f}"
        lines.append(f"words {place}{words}")
    if candidate.example:
        lines.append(f"example {candidate.example:.2f}")
    if len(candidate.contributions) > 1:
        weighty = sorted(candidate.contributions, key=lambda one: -abs(one.value))
        parts = [f"{one.feature} {one.value:+.3f}" for one in weighty[:_FEATURES]]
        if others := weighty[_FEATURES:]:
            parts.append(f"{len(others)} others {sum(one.value for one in others):+.3f}")
        lines.append(f"score = {', '.join(parts)}")
    return lines


def _place(start: int | None, end: int | None) -> str:
    """The characters of the text that a match is from; "" for all of it."""
    return "" if start is None else f"[{start:,}–{end:,}] "
