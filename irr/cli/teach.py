"""The command `irr teach`: a strong language model makes examples for `irr optimize`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import LimitOptions, ProgramOptions
from irr.errors import UsageError
from irr.text.strings import counted

if TYPE_CHECKING:
    from irr.batch import Job, Progress
    from irr.labels.space import LabelSpace
    from irr.program.program import InferRetrieveRank
    from irr.types import Usage
    from irr.workbench.teach import Taught


@dataclass(frozen=True, kw_only=True)
class TeachOptions:
    """What the examples are made of, and what that may cost."""

    output: Annotated[str, Option(help="Where the examples go, as JSONL.", metavar="FILE")]
    texts: Annotated[
        Path | None, Option(help='Texts to label: JSONL {"id", "text"}, or a table.', metavar="FILE")
    ] = None
    labels_without_examples: Annotated[
        bool, Option(help="Write texts for the labels that no example has, instead of labelling texts.")
    ] = False
    examples: Annotated[
        Path | None,
        Option(help="The examples that there are, for --labels-without-examples.", metavar="FILE"),
    ] = None
    per_label: Annotated[int, Option(help="Texts to write for each label.", min=1, max=20)] = 3
    top_k: Annotated[int, Option(help="Labels that a labelled text gets, at most.", min=1)] = 3
    budget: Annotated[
        int | None,
        Option(help="Requests that may be sent, those of earlier calls included.", metavar="CALLS", min=0),
    ] = None
    restart: Annotated[bool, Option(help="Begin anew, and replace an output that is there.")] = False
    program: ProgramOptions
    limits: LimitOptions


@command("teach --labels skills.jsonl --texts ads.jsonl --lm openai/gpt-4o --output examples.jsonl")
def teach(options: TeachOptions) -> None:
    """Let a strong language model make examples, from which irr optimize makes a program without a model.

    It labels texts through the whole program, or writes texts for labels that no example has. A call that was
    stopped goes on where it was when it is repeated. Look at the examples before you trust them: irr optimize
    says what they are worth.

    Exit code 0: all is done; 1: some rows carry an error, or the budget was spent before the end.
    """
    from irr.batch import Job
    from irr.io.outputs import check_output

    check_output(options.output)
    if bool(options.texts) == options.labels_without_examples:
        raise UsageError("nothing to teach with, or two things", "give --texts or --labels-without-examples")
    if not any(options.program.lms.names):
        raise UsageError("no language model that teaches", "give --lm NAME")
    space = options.program.read_space()
    job = Job(
        str(options.texts or ""),
        options.output,
        options.top_k,
        costs=True,
        restart=options.restart,
        reads=(*options.program.reads, *([options.examples] if options.examples else [])),
        columns=options.program.column_names,
    )
    from irr.cli.monitor import Monitor

    with Monitor(None) as monitor:
        taught, used = (_label if options.texts else _write)(options, space, job, monitor)
    _show(taught, used, options.output)
    if taught.stopped or (taught.tally and taught.tally.errors):
        raise typer.Exit(EXIT_ROW_ERRORS)


def _label(options: TeachOptions, space: LabelSpace, job: Job, monitor: Progress) -> tuple[Taught, Usage]:
    from irr.workbench.teach import label, sized, within_budget

    output = Path(options.output)

    def build() -> InferRetrieveRank:
        models = options.program.lms.open(options.limits.read())
        metered = within_budget(models, output, options.budget, options.restart)
        return sized(options.program.build(space, models=metered), output, options.budget)

    return _ended(label(job, build, monitor), output)


def _write(options: TeachOptions, space: LabelSpace, job: Job, monitor: Progress) -> tuple[Taught, Usage]:
    from irr.io.texts import read_gold
    from irr.prompts.pack import load_task
    from irr.workbench.teach import within_budget, write
    from irr.workbench.teach.write import Writing, answers_of, without_examples

    rows = read_gold(options.examples, space, options.program.column_names) if options.examples else []
    labels = without_examples(space, [row.labels for row in rows])
    if not labels:
        raise UsageError("every label has an example", "leave --labels-without-examples out")
    models = options.program.lms.open(options.limits.read())
    answers = answers_of(Path(options.output))
    infer, rank = within_budget(models, answers, options.budget, options.restart)
    model = infer or rank
    if model is None:
        raise UsageError("no language model that writes", "give --lm NAME")
    task = load_task(options.program.lms.task or "default")
    writing = Writing(labels, options.per_label, task, model)
    taught = write(job, writing, lambda: options.program.build(space, models=(None, None)), monitor)
    return _ended(taught, answers)


def _ended(taught: Taught, answers: Path) -> tuple[Taught, Usage]:
    """The result, and what all calls for it cost; the answers are forgotten when the job is done."""
    from irr.workbench.teach import forget, spent

    used = spent(answers)
    if not taught.stopped:
        forget(answers)
    return taught, used


def _show(taught: Taught, used: Usage, output: str) -> None:
    if taught.stopped:
        display.note(f"{taught.stopped}: repeat the call with a larger --budget to go on")
    elif taught.tally and taught.tally.errors:
        rows = counted(taught.tally.texts, "row")
        display.note(f'{taught.tally.errors:,} of {rows} with an error: see "error" in them')
    display.note(f"{counted(taught.examples, 'example')} in {output}")
    if used.calls:
        display.note(display.usage("in all", used))
