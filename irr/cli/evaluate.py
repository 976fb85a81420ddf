"""The command `irr eval`: measures answers against gold labels and earlier evaluations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from irr.cli import display
from irr.cli.command import command
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import DecisionOptions, ProgramOptions, note_language
from irr.errors import UsageError
from irr.text.numbers import counted

if TYPE_CHECKING:
    from irr.calibrate.decision import Decision
    from irr.evaluate.compare import Comparison
    from irr.evaluate.evaluate import Evaluation
    from irr.evaluate.sets import SetScorer, SetScores
    from irr.io.texts import GoldRow
    from irr.program.program import InferRetrieveRank


@dataclass(frozen=True, kw_only=True)
class EvalOptions:
    """The texts and the program to evaluate, and where to write the scores."""

    gold: Annotated[
        Path, Option(help='JSONL rows {"id", "text", "labels": ["ID"]}, or a table.', metavar="FILE")
    ]
    name: Annotated[
        str | None, Option(help="The name of this run in reports and comparisons.", metavar="NAME")
    ] = None
    json_file: Annotated[
        str | None, Option("--json", help='Also write the metrics there; "-" writes stdout.', metavar="FILE")
    ] = None
    report: Annotated[
        str | None, Option(help="Write a report there that shows where labels are lost.", metavar="FILE")
    ] = None
    compare: Annotated[
        list[Path],
        Option(
            help="The --json of an earlier evaluation on the same gold; may be given many times.",
            metavar="FILE",
        ),
    ] = field(default_factory=list)
    cutoffs: Annotated[bool, Option(help="Show precision and recall at many cut-offs on probabilities.")] = (
        False
    )
    decision: DecisionOptions
    program: ProgramOptions


@command("eval --labels skills.jsonl --gold test.jsonl --json scores.json")
def evaluate(options: EvalOptions) -> None:
    """Measure the answers against gold labels, with 95 % intervals."""
    from irr.evaluate.compare import compare, read_baseline
    from irr.evaluate.evaluate import evaluate as measure
    from irr.evaluate.report import Diagnoser, write_page
    from irr.evaluate.setup import Setup, as_text
    from irr.io.outputs import check_outputs, open_output
    from irr.io.streams import STANDARD
    from irr.io.texts import gold_within, read_gold

    outputs = {"--report": options.report, "--json": options.json_file}
    check_outputs(outputs)
    source = options.program
    space = source.read_space()
    rows = read_gold(options.gold, space, source.column_names)
    note_language("texts", (row.text for row in rows), source.encoder_name)
    baselines = [read_baseline(path, rows) for path in options.compare]
    decision = options.decision.read()
    calibration = source.calibration(decision)
    if options.cutoffs and not calibration:
        raise UsageError("--cutoffs needs a calibrated program", "run irr calibrate first")
    read = (options.gold, *options.compare, *source.reads)
    with (
        open_output(options.json_file or os.devnull, *read) as scores,
        open_output(options.report or os.devnull, *read) as page,
    ):
        program = source.build(space)
        rows = gold_within(program.part, rows)
        labels = source.program or source.labels or Path()
        setup = Setup.of(program, rows, name=options.name, gold=options.gold, labels=labels)
        if setup.left_out:
            _warn_of_known_texts(setup.left_out, len(rows))
            program = program.leaving_examples_out()
        diagnoser = Diagnoser(program) if options.report else None
        sets = _sets(program, decision, rows) if calibration else None
        with display.progress("texts", len(rows)) as on_text:
            evaluation = measure(program, rows, on_text, diagnoser.observe if diagnoser else None, sets)
        comparisons = [compare(evaluation.per_text, baseline) for baseline in baselines]
        scores.write(as_text(evaluation, setup, comparisons))
        if diagnoser:
            with display.progress("labels that were lost", diagnoser.to_look_up) as on_text:
                diagnoser.look_up(on_text)
            write_page(page, setup, evaluation, diagnoser, comparisons)
    if STANDARD in outputs.values():
        if evaluation.without_model:
            display.note(display.without_model(evaluation.fallbacks, evaluation.texts))
    else:
        _show(evaluation, setup.title)
        if evaluation.sets:
            _show_sets(evaluation.sets, options.cutoffs)
        if comparisons:
            _show_runs(comparisons, setup.name)
    if evaluation.errors or evaluation.without_model:
        raise typer.Exit(EXIT_ROW_ERRORS)


def _sets(program: InferRetrieveRank, decision: Decision, rows: Sequence[GoldRow]) -> SetScorer | None:
    from irr.config import Hierarchy
    from irr.evaluate.sets import SetScorer

    if program.calibration is None:
        return None
    arranged = decision.cuts and program.settings.hierarchy is not Hierarchy.NONE
    texts = (row.text for row in rows if row.labels)
    answers = program.batch(texts, decision=decision) if arranged else None
    return SetScorer(decision, program.calibration.thresholds(decision), answers)


def _show_sets(sets: SetScores, cutoffs: bool) -> None:
    """Shows the scores of the returned sets, and whether a promise was kept."""
    given = ", ".join(
        f"{name} {value:g}" for name, value in sets.decision.model_dump(exclude_defaults=True).items()
    )
    rows = (
        ("all labels (micro)", *(value.percent() for value in sets.micro.values())),
        ("texts (example)", *(value.percent() for value in sets.example.values())),
        ("labels (macro)", *(f"{100 * value:.1f}" for value in sets.macro.values())),
    )
    title = f"sets of labels: {given or 'the best ten'}"
    display.table(("mean over", "precision", "recall", "F1"), rows, title)
    mean, gold = (sum(sizes) / len(sizes) for sizes in (sets.sizes, sets.gold_sizes))
    without = counted(sets.abstained, "text")
    display.say(f"{mean:.2f} labels a text, {gold:.2f} gold; {without} without labels")
    error = sets.calibration_error
    display.say(f"expected calibration error {error.mean:.3f} ({error.low:.3f} – {error.high:.3f})")
    if sets.promise:
        name, promised, kept = sets.promise
        display.say(f"promised {name} {promised:g}: {kept.percent()} %")
    if cutoffs:
        cut_offs = (
            (
                f"{one.cut_off:.2f}",
                *(f"{100 * value:.1f}" for value in (one.precision, one.recall, one.f1)),
                *(f"{one.size:.2f}", str(one.abstained)),
            )
            for one in sets.kept
        )
        header = ("probability", "precision", "recall", "F1", "labels a text", "texts without")
        display.table(header, cut_offs)


def _warn_of_known_texts(known: int, texts: int) -> None:
    display.note(
        f"{known:,} of {counted(texts, 'text')} among the examples of the program, scored without their own. "
        "Settings and prompts were chosen on them all the same, so other texts will score lower"
    )


def _show(evaluation: Evaluation, title: str) -> None:
    """The metrics of an evaluation as a table, in percent."""
    if evaluation.without_model:
        display.say(display.without_model(evaluation.fallbacks, evaluation.texts))
    display.say(title)
    means = ((name, mean.percent()) for name, mean in evaluation.metrics.items())
    display.table(("metric", "mean (95 % interval)"), means, counted(evaluation.texts, "text"), right=(1,))
    display.say(f"{evaluation.texts_per_second:.1f} texts per second")
    if evaluation.texts_without_gold:
        display.say(f"{counted(evaluation.texts_without_gold, 'text')} without gold labels, in no mean")
    if evaluation.errors:
        display.say(f"{counted(evaluation.errors, 'text')} answered with an error")
    if evaluation.fallbacks and not evaluation.without_model:
        display.say(f"{counted(evaluation.fallbacks, 'text')} answered without the language model")
    for line in display.costs(evaluation.costs):
        display.say(line)


def _show_runs(comparisons: Sequence[Comparison], name: str | None) -> None:
    """A table of runs, the present one last: what each scored, and by how many points it beats the first."""
    from irr.evaluate.compare import compare

    first = comparisons[0]
    runs = [*(compare(other.baseline.per_text, first.baseline) for other in comparisons[1:]), first]
    rows = (
        (metric, f"{100 * mean:.1f}", *(_cell(run, metric) for run in runs))
        for metric, mean in first.means.items()
    )
    header = ("metric", *(run.baseline.name or "" for run in comparisons), name or "this run")
    title = "compared: means, and by how much each run is better than the first"
    display.table(header, rows, title, right=range(1, len(header)))


def _cell(run: Comparison, metric: str) -> str:
    if metric not in run.differences:
        return "not measured"
    difference = run.differences[metric]
    mean = 100 * (run.means[metric] + difference.mean)
    return f"{mean:.1f}\n" + difference.percent().replace(", ", "\n")
