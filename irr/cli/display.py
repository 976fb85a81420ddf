"""What people see: progress and notes on stderr, tables on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from pathlib import Path

    from irr.batch.estimate import Estimate
    from irr.batch.tally import Price, Tally
    from irr.evaluate.compare import Comparison
    from irr.evaluate.evaluate import Evaluation
    from irr.labels.skos.counts import SkosCounts
    from irr.types import Candidate, Costs, Match, Prediction

# Queries of one text that are shown; a long text has thousands.
_QUERIES = 100

stdout = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)


def note(message: str) -> None:
    """One line for the user on stderr, never wrapped, colored or cut, whatever names stand in it."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    stderr.print(line, markup=False, emoji=False, soft_wrap=True)


def skos(path: Path, counts: SkosCounts | None) -> None:
    """What was read of a SKOS file, and what was not; nothing for other files."""
    if counts is None:
        return
    languages = ", ".join(f"{tag} {n:,}" for tag, n in counts.named_in.items())
    note(f"{path}: {counts.labels:,} labels of {counts.concepts:,} concepts; named in {languages}")
    left = {
        "deprecated concepts": counts.deprecated,
        "concepts without a name": counts.unnamed,
        "concepts without an address": counts.blank,
        "parents that are no label here": counts.parents_dropped,
        "concept schemes": counts.schemes,
        "collections": counts.collections,
        "named things of other kinds": counts.others,
    }
    if any(left.values()):
        note("left out: " + ", ".join(f"{n:,} {what}" for what, n in left.items() if n))
    if counts.fallbacks:
        asked = ", ".join(counts.languages)
        note(f"{counts.fallbacks:,} labels have no name in {asked}: theirs is in another language")
    if counts.language_hint:
        note(counts.language_hint)


def summary(result: Tally, price: Price | None = None) -> None:
    """What a user must know of a batch that is done: pace, rows without an answer, costs."""
    pace = f" ({result.texts / result.seconds:,.1f}/s)" if result.seconds else ""
    note(f"{result.texts:,} texts in {duration(result.seconds)}{pace}")
    if result.errors:
        note(f'{result.errors} of {result.texts} texts carry an error: see "error" in their rows')
    if result.fallbacks:
        note(
            f"{result.fallbacks} of {result.texts} texts did without the language model: "
            'see "fallbacks" in their rows'
        )
    for line in _costs(result.costs):
        note(line)
    if price:
        note(f"price: {price.of(result.usage):,.2f}")


def estimate(result: Estimate) -> None:
    """What a batch will take."""
    bad = f", {result.bad_rows:,} of them bad" if result.bad_rows else ""
    stdout.print(f"{result.rows:,} rows{bad}")
    stdout.print(f"about {duration(result.seconds)} at the pace of {result.sample} of them")
    if result.calls:
        tokens = f"{result.prompt_tokens:,} prompt tokens, {result.completion_tokens:,} new tokens"
        stdout.print(f"about {result.calls:,} calls, {tokens}")
    if result.price is not None:
        stdout.print(f"about {result.price:,.2f} in the unit of the price")


def duration(seconds: float) -> str:
    """A time in the unit that people would use."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"


def _costs(costs: Costs) -> Iterator[str]:
    for stage, usage in (("infer", costs.infer), ("rank", costs.rank)):
        if usage.calls:
            share = usage.cached_tokens / usage.prompt_tokens if usage.prompt_tokens else 0.0
            yield (
                f"{stage}: {usage.calls:,} calls, {usage.prompt_tokens:,} prompt tokens "
                f"({share:.0%} cached), {usage.completion_tokens:,} new tokens, {usage.seconds:,.1f} s waited"
            )


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        # Over the whole run: texts come in groups, so that the rate of the last few means nothing.
        speed = task.completed / task.elapsed if task.elapsed else 0.0
        return Text(f"{speed:,.1f}/s", style="progress.data.speed")


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr that shows itself at the first call of what it yields.

    What it yields takes (done, in all), or nothing for one more of `total`.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=stderr,
    )
    task = bar.add_task(what, total=total)

    def advance(done: int | None = None, out_of: int | None = total) -> None:
        bar.start()
        if done is None:
            bar.advance(task)
        else:
            bar.update(task, completed=done, total=out_of)

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()


def report(result: Evaluation) -> None:
    """The metrics of an evaluation as a table, in percent."""
    table = Table("metric", "mean", "95 % interval", title=f"{result.texts} texts")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, e in result.metrics.items():
        table.add_row(name, f"{100 * e.mean:.1f}", f"{100 * e.low:.1f} – {100 * e.high:.1f}")
    stdout.print(table)
    stdout.print(f"{result.texts_per_second:.1f} texts per second")
    if result.texts_without_gold:
        stdout.print(f"{result.texts_without_gold} texts have no gold labels and count in no mean")
    if result.errors:
        stdout.print(f"{result.errors} texts were answered with an error")
    if result.fallbacks:
        stdout.print(f"{result.fallbacks} texts did without the language model")
    for line in _costs(result.costs):
        stdout.print(line)


def comparison(result: Comparison) -> None:
    """How an evaluation compares to an earlier one, in points."""
    table = Table("metric", result.run.name, "difference", "95 % interval", "p", title="compared")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, d in result.differences.items():
        table.add_row(
            name,
            f"{100 * result.means[name]:.1f}",
            f"{100 * d.mean:+.1f}",
            f"{100 * d.low:+.1f} – {100 * d.high:+.1f}",
            f"{d.p:.3f}" if d.p >= 0.001 else "< 0.001",
        )
    stdout.print(table)


def trace(prediction: Prediction, top_k: int) -> None:
    """Every stage's output for one text."""
    if prediction.trace is None:
        raise ValueError("the prediction carries no trace")
    queries = Table("kind", "query", title="infer: queries")
    shown = prediction.trace.queries[:_QUERIES]
    for query in shown:
        queries.add_row(query.kind, Text(query.text))
    stdout.print(queries)
    if more := len(prediction.trace.queries) - len(shown):
        passages = len({query.passage for query in prediction.trace.queries})
        stdout.print(f"and {more:,} more, from {passages:,} passages in all")
    candidates = Table("score", "label", "evidence: query → entry, match", title="retrieve: candidates")
    for candidate in prediction.trace.candidates[:top_k]:
        matches = candidate.matches
        evidence = "\n".join(
            [f"{m.kind} {m.score:.2f}  {_place(m)}{_short(m.query)} → {_short(m.entry)}" for m in matches]
            + ([_words(candidate)] if candidate.word_cosine else [])
            + ([f"example {candidate.example:.2f}"] if candidate.example else [])
        )
        candidates.add_row(f"{candidate.score:.3f}", Text(candidate.label.name), Text(evidence))
    stdout.print(candidates)
    ranking = Table("rank", "score", "id", "label", title="rank: labels")
    for rank, label in enumerate(prediction.labels, 1):
        ranking.add_row(str(rank), f"{label.score:.3f}", Text(label.id), Text(label.name))
    stdout.print(ranking)
    for fallback in prediction.fallbacks:
        stdout.print(f"{fallback.stage} did without its language model: {fallback.message}", markup=False)
    for line in _costs(prediction.costs):
        stdout.print(line, markup=False)


def _words(candidate: Candidate) -> str:
    """What words the candidate shares with the passage that speaks for it, and where that is."""
    start, end = candidate.place or (0, 0)
    place = f"[{start:,}–{end:,}] " if candidate.place else ""
    return f"words {place}{candidate.name_recall:.0%} of the name, word cosine {candidate.word_cosine:.2f}"


def _place(match: Match) -> str:
    """Where a match's query stands in the text, as characters."""
    return "" if match.start is None else f"[{match.start:,}–{match.end:,}] "


def _short(text: str, width: int = 40) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 1]}…"
