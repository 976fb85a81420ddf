"""The command `irr optimize`: optimizes a program on examples, and freezes it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import irr
from irr.cli import display, options
from irr.cli.calibrate import calibration_lines
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import flag, value
from irr.cli.show import show_scores
from irr.text.strings import counted

if TYPE_CHECKING:
    from irr.lm.cache import Budget
    from irr.optimize.optimization import Optimized
    from irr.optimize.tuning import Trial
    from irr.types import Usage

_teachers = partial(value, panel="Teachers")


def optimize(
    train: Annotated[Path, value('The trainset: JSONL {"id", "text", "labels"}.', "FILE")],
    output: Annotated[str, value("Where the frozen program goes.", "DIR")],
    val: Annotated[Path | None, value("The valset. Default: half of --train.", "FILE")] = None,
    optimizer: Annotated[
        Literal["bootstrap", "mipro", "gepa", "none"], value("How prompts are optimized.")
    ] = "bootstrap",
    end_to_end: Annotated[bool, flag("--end-to-end", "Optimize infer and rank together, by RP@10.")] = False,
    budget: Annotated[
        int | None, value("Requests that may be sent to language models.", "CALLS", min=0)
    ] = None,
    seed: Annotated[int, value("The same seed gives the same program.", min=0)] = 0,
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
    teacher_lm: Annotated[
        str | None,
        _teachers("A stronger model that writes demos and instructions. Default: the model itself.", "NAME"),
    ] = None,
    infer_teacher_lm: Annotated[str | None, _teachers("Another one for infer.", "NAME")] = None,
    rank_teacher_lm: Annotated[str | None, _teachers("Another one for rank.", "NAME")] = None,
    teacher_api_base: Annotated[
        str | None, _teachers("URL of the teachers' server. Default: --api-base.", "URL")
    ] = None,
) -> None:
    """Optimize a program on tens of examples, and freeze it.

    Without a language model it tunes hyperparameters: weights, margins and spans. With one it also optimizes
    prompts: infer's by recall@50 of the candidates, then rank's by RP@10. A stage that does not pay is left
    out.

    Ctrl-C, or a budget that is spent, freezes the best program found so far; a second Ctrl-C ends at once.
    """
    from irr.cli.program_options import ProgramOptions

    source = ProgramOptions.of(locals())
    teachers = ProgramOptions(
        lm=teacher_lm,
        infer_lm=infer_teacher_lm,
        rank_lm=rank_teacher_lm,
        api_base=teacher_api_base or api_base,
    )
    from irr.frozen.folder import ProgramFolder
    from irr.io.outputs import check_output
    from irr.io.texts import read_gold
    from irr.lm.registry import check_name

    check_output(output, folder=True)
    space = source.read_space()
    for name in teachers.lm_names:
        check_name(name or "none", teachers.api_base)
    # DSPy's own progress bars would overwrite this one.
    os.environ.setdefault("TQDM_DISABLE", "1")
    from irr.lm.cache import Budget
    from irr.optimize.optimization import Teachers, check_models, split
    from irr.optimize.optimization import optimize as run
    from irr.optimize.prompt_search import Optimizer

    check_models(Optimizer(optimizer), end_to_end, source.capabilities, teachers.capabilities)
    place = ProgramFolder.at(Path(output))
    trainset = read_gold(train, space, source.column_names)
    if val:
        valset = read_gold(val, space, source.column_names)
    else:
        trainset, valset = split(trainset, seed)
        half, rest = len(trainset), len(valset)
        display.note(f"no --val: {half:,} of the examples for the trainset, {rest:,} for the valset")
    program = source.build(space)
    with _trial_progress() as (on_trial, on_usage):
        calls = Budget(budget, lambda: on_usage(calls.usage))
        with _interrupts(calls):
            result = run(
                program,
                trainset,
                valset,
                optimizer=Optimizer(optimizer),
                teachers=Teachers(*teachers.open_models()),
                end_to_end=end_to_end,
                budget=calls,
                seed=seed,
                on_trial=on_trial,
            )
            trials = [trial.row() for trial in result.trials]
            irr.freeze(result.program, place, scores=result.scores, optimized=result.history, trials=trials)
    _show_result(result, output)
    if calls.silent:
        raise typer.Exit(EXIT_ROW_ERRORS)


@contextmanager
def _interrupts(budget: Budget) -> Iterator[None]:
    """The first Ctrl-C ends the search; the second ends everything."""

    def handler(*_: object) -> None:
        if budget.reason:
            raise KeyboardInterrupt
        budget.stop("interrupted")
        display.note("stopping: the best program so far is frozen; Ctrl-C again to leave at once")

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _trial_progress() -> Iterator[tuple[Callable[[Trial, int], None], Callable[[Usage], None]]]:
    """Yields what shows a trial, given the expected number of trials of its step, and the usage so far."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    texts = ("{task.completed:.0f} trials", "{task.fields[best]}", "{task.fields[spent]}")
    times = TimeElapsedColumn(), TimeRemainingColumn()
    columns = TextColumn("{task.description}"), BarColumn(), *map(TextColumn, texts), *times
    best: dict[str, float] = {}
    with display.bar(Progress(*columns, console=display.stderr)) as bar:
        task = bar.add_task("", total=None, best="", spent="")

        def on_trial(trial: Trial, most: int) -> None:
            if trial.step not in best:
                bar.reset(task, description=trial.step, total=most)
                bar.start()
            best[trial.step] = max(best.get(trial.step, 0.0), trial.score.mean)
            bar.update(task, advance=1, best=f"{trial.metric} {100 * best[trial.step]:.1f}")
            if not bar.console.is_terminal:
                display.note(f"{trial.step}: {trial.what}: {trial.metric} {trial.score.percent()}")

        def on_usage(usage: Usage) -> None:
            tokens = usage.prompt_tokens + usage.completion_tokens
            bar.update(task, spent=f"{usage.calls:,} calls, {tokens:,} tokens")

        yield on_trial, on_usage


def _show_result(result: Optimized, folder: str) -> None:
    """Shows the trials, the result, and the usage."""
    program = result.program
    trials = ((t.step, t.what, t.metric, t.score.percent(), t.calls) for t in result.trials)
    header = ("step", "tried", "metric", "mean (95 % interval)", "calls")
    display.table(header, trials, "programs tried", right=(3, 4))
    show_scores(result.scores)
    for what, gain in (("after against before", result.gain), ("the trainset's examples", result.of_train)):
        if gain:
            beyond = "" if gain.low > 0 else ": no gain beyond luck"
            display.say(f"RP@10 on the valset, {what}: {gain.percent()}{beyond}")
    display.say(f"examples in the program: {len(program.examples):,}")
    display.say(f"settings changed: {display.changed(program.settings)}")
    for stage, model in (("infer", program.models.infer_lm), ("rank", program.models.rank_lm)):
        display.say(f"{stage}: {model.name if model else 'no language model'}")
    figures = ("calls", "prompt_tokens", "completion_tokens")
    calls, sent, generated = (int(result.history[name]) for name in figures)
    if calls:
        display.say(f"{counted(calls, 'call')}, {sent:,} prompt and {generated:,} completion tokens")
    if program.calibration:
        for line in calibration_lines(program.calibration):
            display.say(line)
    else:
        display.note(f"without probabilities: {result.uncalibrated}")
    if result.stopped:
        display.note(f"stopped early: {result.stopped}")
    display.note(f"frozen: {folder}; see irr show {folder}")
