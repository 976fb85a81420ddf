"""What people see of an optimization, and of a frozen program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from irr.cli.display import note, stderr, stdout
from irr.config import Settings

if TYPE_CHECKING:
    from irr.evaluate.metrics import Estimate
    from irr.frozen.manifest import Manifest, Scores
    from irr.optimize.optimize import Optimized
    from irr.optimize.scorer import Trial
    from irr.prompts.pack import Demo
    from irr.types import Usage

_SHOWN_METRICS = ("rp@5", "rp@10", "rp@50", "recall@50")


class Watch:
    """Shows how an optimization goes: the step, its trials, the best score, and what calls cost so far."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, best="", spent="")
        self._step = ""
        self._best = 0.0

    def trial(self, trial: Trial, most: int) -> None:
        """Counts a trial; `most` is about how many there are in its step."""
        if trial.step != self._step:
            self._step, self._best = trial.step, 0.0
            self._bar.reset(self._task, description=trial.step, total=most)
            self._bar.start()
        self._best = max(self._best, trial.score.mean)
        best = f"{trial.metric} {100 * self._best:.1f}"
        self._bar.update(self._task, advance=1, best=best)
        if not self._bar.console.is_terminal:
            note(f"{trial.step}: {trial.what}: {trial.metric} {_percent(trial.score)}")

    def spent(self, usage: Usage) -> None:
        """Shows what calls have cost."""
        tokens = usage.prompt_tokens + usage.completion_tokens
        self._bar.update(self._task, spent=f"{usage.calls:,} calls, {tokens:,} tokens")


@contextmanager
def trials() -> Iterator[Watch]:
    """A line on stderr that shows itself with the first trial."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} trials"),
        TextColumn("{task.fields[best]}"),
        TextColumn("{task.fields[spent]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=stderr,
    )
    try:
        yield Watch(bar)
    finally:
        if bar.live.is_started:
            bar.stop()


def optimized(result: Optimized, folder: Path) -> None:
    """All that was tried, what came of it, and what it cost."""
    table = Table("step", "tried", "metric", "mean", "95 % interval", "calls", title="programs tried")
    for column in table.columns[3:]:
        column.justify = "right"
    for trial in result.trials:
        interval = f"{100 * trial.score.low:.1f} – {100 * trial.score.high:.1f}"
        mean = f"{100 * trial.score.mean:.1f}"
        table.add_row(trial.step, Text(trial.what), trial.metric, mean, interval, f"{trial.calls:,}")
    stdout.print(table)
    stdout.print(_scores(result.scores))
    usage = {name: int(result.history[name]) for name in ("calls", "prompt_tokens", "completion_tokens")}
    stdout.print(f"examples in the program: {len(result.program.examples):,}")
    stdout.print(f"settings changed: {_changed(result.program.settings)}", markup=False)
    for stage, model in (("infer", result.program.infer_lm), ("rank", result.program.rank_lm)):
        stdout.print(f"{stage}: {model.name if model else 'no language model'}", markup=False)
    if usage["calls"]:
        tokens = f"{usage['prompt_tokens']:,} prompt and {usage['completion_tokens']:,} new tokens"
        stdout.print(f"{usage['calls']:,} calls, {tokens}")
    if result.stopped:
        note(f"stopped early: {result.stopped}")
    note(f"frozen: {folder}; see irr show {folder}")


def program(folder: Path, manifest: Manifest) -> None:
    """What a frozen program is."""
    recipe = manifest.recipe
    facts = Table(title=str(folder), show_header=False)
    facts.add_row("labels", f"{manifest.labels:,}, fingerprint {manifest.fingerprint[:16]}")
    facts.add_row("encoder", Text(f"{recipe.encoder.name} ({recipe.encoder.revision})"))
    for stage, model in (("infer", recipe.infer), ("rank", recipe.rank)):
        said = f"{model.name} ({model.revision or 'served'})" if model else "no language model"
        facts.add_row(stage, Text(said))
    facts.add_row("examples", f"{manifest.examples:,}, in examples.jsonl" if manifest.examples else "none")
    facts.add_row("settings changed", Text(_changed(recipe.settings)))
    if manifest.optimized:
        facts.add_row("optimized", ", ".join(f"{name} {value}" for name, value in manifest.optimized.items()))
    facts.add_row("versions", ", ".join(f"{name} {value}" for name, value in manifest.versions.items()))
    facts.add_row("digest", manifest.digest)
    stdout.print(facts)
    if manifest.scores:
        stdout.print(_scores(manifest.scores))
    if recipe.task:
        task = recipe.task
        for stage, model, prompt in (
            ("infer", recipe.infer, task.infer),
            ("rank", recipe.rank, task.rank),
        ):
            if model:
                told = f"{prompt.instructions}\n{task.notes_of(prompt)}".strip()
                shown = task.count_of(
                    prompt, (recipe.settings.infer if stage == "infer" else recipe.settings.rank).demos
                )
                _prompt(stage, told, task.demos_of(prompt)[:shown])


def _prompt(stage: str, told: str, demos: tuple[Demo, ...]) -> None:
    stdout.rule(f"{stage}: what the model is told")
    stdout.print(told, markup=False)
    for demo in demos:
        stdout.print(f"\n- {demo.text}\n  {'; '.join(demo.terms)}", markup=False)


def _scores(scores: Mapping[str, Scores]) -> Table:
    texts = next((found.texts for found in scores.values()), 0)
    table = Table("program", *_SHOWN_METRICS, title=f"on the {texts} examples of the valset")
    for name, found in scores.items():
        table.add_row(name, *(_percent(found.metrics[metric]) for metric in _SHOWN_METRICS))
    return table


def _changed(settings: Settings) -> str:
    changed = settings.difference(Settings())
    return ", ".join(f"{name}={value}" for name, (value, _) in changed.items()) or "none"


def _percent(e: Estimate) -> str:
    return f"{100 * e.mean:.1f} ({100 * e.low:.1f} – {100 * e.high:.1f})"
