"""The commands that make frozen programs and show them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from irr.cli import display, display_programs
from irr.cli.options import (
    ApiBase,
    EncoderName,
    Fields,
    HierarchyName,
    IndexFolder,
    InferLM,
    Labels,
    Language,
    LMName,
    LMOptions,
    ProgramOptions,
    RankLM,
    RankMethodName,
    Task,
)
from irr.config import RankMethod
from irr.errors import UsageError
from irr.lm.registry import NO_MODEL

if TYPE_CHECKING:
    from irr.optimize import Budget
    from irr.optimize.scorer import Trial

# One of irr.optimize.search.Optimizer; named here so that --help does not import DSPy.
OPTIMIZERS = ("bootstrap", "mipro", "gepa", "none")


def optimize(
    train: Annotated[
        Path, typer.Option(help='The trainset: JSONL {"id", "text", "labels"}.', metavar="FILE")
    ],
    output: Annotated[Path, typer.Option(help="Where the frozen program goes.", metavar="DIR")],
    labels: Labels = None,
    val: Annotated[
        Path | None,
        typer.Option(
            help="The valset. Default: half of --train.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    optimizer: Annotated[
        str, typer.Option(help=f"How prompts are optimized: {', '.join(OPTIMIZERS)}.", metavar="NAME")
    ] = "bootstrap",
    end_to_end: Annotated[
        bool, typer.Option("--end-to-end", help="Optimize infer and rank together, by RP@10.")
    ] = False,
    budget: Annotated[
        int | None,
        typer.Option(
            help="Requests that may be sent to language models.", metavar="CALLS", min=0, show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same program.", min=0)] = 0,
    encoder: EncoderName = None,
    fields: Fields = None,
    index_folder: IndexFolder = None,
    lm: LMName = None,
    api_base: ApiBase = None,
    infer_lm: InferLM = None,
    rank_lm: RankLM = None,
    rank_method: RankMethodName = RankMethod.AUTO,
    teacher_lm: Annotated[
        str | None,
        typer.Option(
            "--teacher-lm",
            help="A stronger model that writes demos and instructions. Default: the model itself.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    infer_teacher_lm: Annotated[
        str | None,
        typer.Option("--infer-teacher-lm", help="Another one for infer.", metavar="NAME", show_default=False),
    ] = None,
    rank_teacher_lm: Annotated[
        str | None,
        typer.Option("--rank-teacher-lm", help="Another one for rank.", metavar="NAME", show_default=False),
    ] = None,
    teacher_api_base: Annotated[
        str | None,
        typer.Option(
            help="URL of the teachers' server. Default: --api-base.", metavar="URL", show_default=False
        ),
    ] = None,
    task: Task = None,
    language: Language = None,
    hierarchy: HierarchyName = None,
) -> None:
    """Optimize a program on tens of examples, and freeze it.

    Without a language model the hyperparameters are tuned: weights, margins and spans. With one, so are its
    prompts: infer's by recall@50 of the candidates, then rank's by RP@10. A stage that does not pay is left
    out.

    Ctrl-C, or a budget that is spent, freezes the best program found so far; a second Ctrl-C ends at once.
    """
    if optimizer not in OPTIMIZERS:
        raise UsageError(f'no optimizer "{optimizer}"', f"name one of {', '.join(OPTIMIZERS)}")
    lms = LMOptions(lm, api_base, infer_lm, rank_lm, rank_method, task)
    options = ProgramOptions(
        labels, None, encoder, fields, index_folder, lms, language=language, hierarchy=hierarchy
    )
    space = options.read_space()
    teachers = LMOptions(
        teacher_lm or NO_MODEL, teacher_api_base or api_base, infer_teacher_lm, rank_teacher_lm
    )
    for name in teachers.names:
        LMOptions(name).check()
    # DSPy's own bars would be drawn over ours.
    os.environ.setdefault("TQDM_DISABLE", "1")
    from irr.frozen.freeze import freeze
    from irr.frozen.place import Place
    from irr.io.texts import read_gold
    from irr.optimize import Budget, Optimizer, Students, check_models, split
    from irr.optimize import optimize as run

    check_models(Optimizer(optimizer), end_to_end, lms.capabilities, teachers.capabilities)
    place = Place.at(output)
    trainset = read_gold(train, space)
    if val:
        valset = read_gold(val, space)
    else:
        trainset, valset = split(trainset, seed)
        half, rest = len(trainset), len(valset)
        display.note(f"no --val: {half} examples are the trainset, {rest} others the valset")
    models = Students(*lms.open(), *teachers.open())
    with ExitStack() as entries, display_programs.trials() as watch:
        on_entries = entries.enter_context(display.progress("label entries", None))

        def on_trial(trial: Trial, most: int) -> None:
            entries.close()  # the index is there: its bar makes room for the trials'
            watch.trial(trial, most)

        budget_left = Budget(budget, lambda: watch.spent(budget_left.usage))
        with _interrupts(budget_left):
            result = run(
                space,
                trainset,
                valset,
                models=models,
                task=task or "default",
                settings=options.settings(),
                optimizer=Optimizer(optimizer),
                end_to_end=end_to_end,
                budget=budget_left,
                seed=seed,
                encoder=encoder,
                index_folder=index_folder,
                progress=on_entries,
                on_trial=on_trial,
            )
            trials = [trial.row() for trial in result.trials]
            freeze(result.program, place, scores=result.scores, optimized=result.history, trials=trials)
    display_programs.optimized(result, output)


def show(
    program: Annotated[Path, typer.Argument(help="A frozen program.", metavar="DIR")],
) -> None:
    """Show what a frozen program is: labels, settings, models, prompts, scores."""
    from irr.frozen.manifest import read_manifest

    display_programs.program(program, read_manifest(program))


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
