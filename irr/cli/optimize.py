"""The command `irr optimize`: optimizes a program on examples, and freezes it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer
from typer import Option

from irr.cli import display
from irr.cli.calibrate import lines
from irr.cli.command import command
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import BuildOptions, LMOptions
from irr.cli.show import show_scores
from irr.text.numbers import counted

if TYPE_CHECKING:
    from rich.progress import Progress

    from irr.lm.cache import Budget
    from irr.optimize.optimization import Optimized
    from irr.optimize.scorer import Trial
    from irr.types import Usage


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """The stronger models that write demos and instructions."""

    panel: ClassVar[str] = "Teachers"

    teacher_lm: Annotated[
        str | None,
        Option(
            help="A stronger model that writes demos and instructions. Default: the model itself.",
            metavar="NAME",
        ),
    ] = None
    infer_teacher_lm: Annotated[str | None, Option(help="Another one for infer.", metavar="NAME")] = None
    rank_teacher_lm: Annotated[str | None, Option(help="Another one for rank.", metavar="NAME")] = None
    teacher_api_base: Annotated[
        str | None, Option(help="URL of the teachers' server. Default: --api-base.", metavar="URL")
    ] = None

    def as_models(self, api_base: str | None) -> LMOptions:
        """The teachers as models of both stages, at `api_base` unless another server is named."""
        return LMOptions(
            lm=self.teacher_lm or "none",
            api_base=self.teacher_api_base or api_base,
            infer_lm=self.infer_teacher_lm,
            rank_lm=self.rank_teacher_lm,
        )


@dataclass(frozen=True, kw_only=True)
class OptimizeOptions:
    """The examples, the optimizer, and the folder of the program."""

    train: Annotated[Path, Option(help='The trainset: JSONL {"id", "text", "labels"}.', metavar="FILE")]
    output: Annotated[str, Option(help="Where the frozen program goes.", metavar="DIR")]
    val: Annotated[Path | None, Option(help="The valset. Default: half of --train.", metavar="FILE")] = None
    optimizer: Annotated[
        Literal["bootstrap", "mipro", "gepa", "none"], Option(help="How prompts are optimized.")
    ] = "bootstrap"
    end_to_end: Annotated[bool, Option(help="Optimize infer and rank together, by RP@10.")] = False
    budget: Annotated[
        int | None, Option(help="Requests that may be sent to language models.", metavar="CALLS", min=0)
    ] = None
    seed: Annotated[int, Option(help="The same seed gives the same program.", min=0)] = 0
    build: BuildOptions
    teachers: TeacherOptions


@command("optimize --labels skills.jsonl --train examples.jsonl --output program")
def optimize(options: OptimizeOptions) -> None:
    """Optimize a program on tens of examples, and freeze it.

    Without a language model it tunes hyperparameters: weights, margins and spans. With one it also optimizes
    prompts: infer's by recall@50 of the candidates, then rank's by RP@10. A stage that does not pay is left
    out.

    Ctrl-C, or a budget that is spent, freezes the best program found so far; a second Ctrl-C ends at once.
    """
    from irr.frozen.folder import ProgramFolder
    from irr.io.outputs import check_output
    from irr.io.texts import read_gold
    from irr.lm.registry import check_name

    build, lms = options.build, options.build.lms
    check_output(options.output, folder=True)
    output = Path(options.output)
    space = build.read_space()
    teachers = options.teachers.as_models(lms.api_base)
    for name in teachers.names:
        check_name(name or "none", teachers.api_base)
    # DSPy's own progress bars would overwrite this one.
    os.environ.setdefault("TQDM_DISABLE", "1")
    from irr.frozen.freeze import freeze
    from irr.lm.cache import Budget
    from irr.optimize.dspy_search import Optimizer
    from irr.optimize.optimization import check_models, split
    from irr.optimize.optimization import optimize as run
    from irr.optimize.prompt_search import Students

    optimizer = Optimizer(options.optimizer)
    check_models(optimizer, options.end_to_end, lms.capabilities, teachers.capabilities)
    place = ProgramFolder.at(output)
    trainset = read_gold(options.train, space, build.column_names)
    if options.val:
        valset = read_gold(options.val, space, build.column_names)
    else:
        trainset, valset = split(trainset, options.seed)
        half, rest = len(trainset), len(valset)
        display.note(f"no --val: {half:,} of the examples for the trainset, {rest:,} for the valset")
    models = Students(*lms.open(), *teachers.open())
    with ExitStack() as entries, _trial_progress() as shown:
        on_entries = entries.enter_context(display.progress("label entries", None))

        def on_trial(trial: Trial, most: int) -> None:
            entries.close()  # the index is built: its bar makes room for the trials'
            shown.trial(trial, most)

        budget = Budget(options.budget, lambda: shown.spent(budget.usage))
        with _interrupts(budget):
            result = run(
                space,
                trainset,
                valset,
                models=models,
                task=lms.task or "default",
                settings=build.settings(),
                optimizer=optimizer,
                end_to_end=options.end_to_end,
                budget=budget,
                seed=options.seed,
                encoder=build.encoder,
                index_folder=build.index_folder,
                index_server=build.index,
                progress=on_entries,
                on_trial=on_trial,
            )
            trials = [trial.row() for trial in result.trials]
            freeze(result.program, place, scores=result.scores, optimized=result.history, trials=trials)
    _show(result, output)
    if budget.silent:
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


class _TrialProgress:
    """Shows the progress of an optimization: the step, its trials, the best score, the usage."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, best="", spent="")
        self._step = ""
        self._best = 0.0

    def trial(self, trial: Trial, most: int) -> None:
        """Counts a trial; `most` is the expected number of trials of its step."""
        if trial.step != self._step:
            self._step, self._best = trial.step, 0.0
            self._bar.reset(self._task, description=trial.step, total=most)
            self._bar.start()
        self._best = max(self._best, trial.score.mean)
        best = f"{trial.metric} {100 * self._best:.1f}"
        self._bar.update(self._task, advance=1, best=best)
        if not self._bar.console.is_terminal:
            display.note(f"{trial.step}: {trial.what}: {trial.metric} {trial.score.percent()}")

    def spent(self, usage: Usage) -> None:
        """Shows the usage."""
        tokens = usage.prompt_tokens + usage.completion_tokens
        self._bar.update(self._task, spent=f"{usage.calls:,} calls, {tokens:,} tokens")


@contextmanager
def _trial_progress() -> Iterator[_TrialProgress]:
    """A progress line on stderr that appears with the first trial."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} trials"),
        TextColumn("{task.fields[best]}"),
        TextColumn("{task.fields[spent]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=display.stderr,
    )
    try:
        yield _TrialProgress(bar)
    finally:
        if bar.live.is_started:
            bar.stop()


def _show(result: Optimized, folder: Path) -> None:
    """Shows the trials, the result, and the usage."""
    trials = (
        (trial.step, trial.what, trial.metric, trial.score.percent(), f"{trial.calls:,}")
        for trial in result.trials
    )
    header = ("step", "tried", "metric", "mean (95 % interval)", "calls")
    display.table(header, trials, "programs tried", right=(3, 4))
    show_scores(result.scores)
    for what, gain in (("after against before", result.gain), ("the trainset's examples", result.of_train)):
        if gain:
            beyond = "" if gain.low > 0 else ": no gain beyond luck"
            display.say(f"RP@10 on the valset, {what}: {gain.percent()}{beyond}")
    usage = {name: int(result.history[name]) for name in ("calls", "prompt_tokens", "completion_tokens")}
    display.say(f"examples in the program: {len(result.program.examples):,}")
    display.say(f"settings changed: {display.changed(result.program.settings)}")
    for stage, model in (("infer", result.program.models.infer_lm), ("rank", result.program.models.rank_lm)):
        display.say(f"{stage}: {model.name if model else 'no language model'}")
    if usage["calls"]:
        tokens = f"{usage['prompt_tokens']:,} prompt and {usage['completion_tokens']:,} completion tokens"
        display.say(f"{counted(usage['calls'], 'call')}, {tokens}")
    if calibration := result.program.calibration:
        for line in lines(calibration):
            display.say(line)
    else:
        display.note(f"without probabilities: {result.uncalibrated}")
    if result.stopped:
        display.note(f"stopped early: {result.stopped}")
    display.note(f"frozen: {folder}; see irr show {folder}")
