"""The command `irr eval`: measures answers against gold labels and earlier evaluations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from irr.cli import display, options
from irr.cli.exits import EXIT_ROW_ERRORS
from irr.cli.options import flag, value
from irr.errors import UsageError
from irr.text.strings import counted

if TYPE_CHECKING:
    from irr.evaluate.evaluate import Comparison, Evaluation
    from irr.evaluate.sets import SetScores


def evaluate(
    gold: options.Gold,
    name: Annotated[str | None, value("The name of this run in reports and comparisons.", "NAME")] = None,
    json_file: Annotated[
        str | None, value('Also write the metrics there; "-" writes stdout.', "FILE", "--json")
    ] = None,
    report: Annotated[
        str | None, value("Write a report there that shows where labels are lost.", "FILE")
    ] = None,
    compare: Annotated[
        list[Path] | None,
        value("The --json of an earlier evaluation on the same gold; may be given many times.", "FILE"),
    ] = None,
    cutoffs: Annotated[
        bool, flag("--cutoffs", "Show precision and recall at many cut-offs on probabilities.")
    ] = False,
    min_probability: options.MinProbability = None,
    precision: options.Precision = None,
    recall: options.Recall = None,
    best_f1: options.BestF1 = False,
    scope: options.Scope = None,
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
    """Measure the answers against gold labels, with 95 % intervals."""
    from irr.cli.program_options import ProgramOptions
    from irr.evaluate.evaluate import EvaluationOptions, read_baseline
    from irr.evaluate.evaluate import evaluate as run
    from irr.evaluate.evaluation_page import write_page
    from irr.io.outputs import check_outputs, open_output
    from irr.io.streams import STANDARD
    from irr.io.texts import read_gold

    source = ProgramOptions.of(locals())
    outputs = {"--report": report, "--json": json_file}
    check_outputs(outputs)
    space = source.read_space()
    rows = read_gold(gold, space, source.column_names)
    source.note_language("texts", (row.text for row in rows))
    baselines = [read_baseline(path, rows) for path in compare or ()]
    decision = options.decision(min_probability, precision, recall, best_f1, scope)
    calibration = source.read_calibration(decision)
    if cutoffs and not calibration:
        raise UsageError("--cutoffs needs a calibrated program", "run irr calibrate first")
    files = (gold, *(compare or ()), *source.files_read)
    with (
        open_output(json_file or os.devnull, *files) as scores,
        open_output(report or os.devnull, *files) as page,
    ):
        basis = program or labels or Path()
        lost = report is not None
        measured = EvaluationOptions(
            name=name, gold=gold, labels=basis, decision=decision, baselines=baselines, diagnose=lost
        )
        result = run(source.build(space), rows, measured, display.progress)
        scores.write(result.to_text())
        if report:
            write_page(page, result)
    if result.left_out:
        texts = f"{result.left_out:,} of {counted(result.texts, 'text')} among the examples of the program"
        caution = "Settings and prompts were chosen on them all the same, so other texts will score lower"
        display.note(f"{texts}, scored without their own. {caution}")
    if STANDARD not in outputs.values():
        _show_metrics(result)
        if result.sets:
            _show_sets(result.sets, cutoffs)
        if result.comparisons:
            _show_runs(result.comparisons, name)
    elif result.without_model:
        display.note(display.without_model(result.fallbacks, result.texts))
    if result.errors or result.without_model:
        raise typer.Exit(EXIT_ROW_ERRORS)


def _show_sets(sets: SetScores, cutoffs: bool) -> None:
    """Shows the scores of the returned sets, and whether a promise was kept."""
    options = sets.decision.model_dump(exclude_defaults=True)
    chosen = ", ".join(f"{name} {value:g}" for name, value in options.items())
    means = (
        ("all labels (micro)", *(value.percent() for value in sets.micro.values())),
        ("texts (example)", *(value.percent() for value in sets.example.values())),
        ("labels (macro)", *(f"{100 * value:.1f}" for value in sets.macro.values())),
    )
    title = f"sets of labels: {chosen or 'the best ten'}"
    display.table(("mean over", "precision", "recall", "F1"), means, title)
    mean, gold = (sum(sizes) / len(sizes) for sizes in (sets.sizes, sets.gold_sizes))
    without = counted(sets.abstained, "text")
    display.say(f"{mean:.2f} labels a text, {gold:.2f} gold; {without} without labels")
    error = sets.calibration_error
    display.say(f"expected calibration error {error.mean:.3f} ({error.low:.3f} – {error.high:.3f})")
    if sets.promise:
        name, promised, measured = sets.promise
        display.say(f"promised {name} {promised:g}: {measured.percent()} %")
    if cutoffs:
        header = ("probability", "precision", "recall", "F1", "labels a text", "texts without")
        rows = []
        for one in sets.cutoffs:
            shares = (f"{100 * value:.1f}" for value in (one.precision, one.recall, one.f1))
            rows.append((f"{one.cut_off:.2f}", *shares, f"{one.size:.2f}", one.abstained))
        display.table(header, rows)


def _show_metrics(evaluation: Evaluation) -> None:
    """The metrics of an evaluation as a table, in percent."""
    if evaluation.without_model:
        display.say(display.without_model(evaluation.fallbacks, evaluation.texts))
    display.say(evaluation.title)
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
    from irr.evaluate.evaluate import compare

    first, *others = comparisons
    runs = [*(compare(other.baseline.per_text, first.baseline) for other in others), first]
    means = ((metric, f"{100 * mean:.1f}") for metric, mean in first.means.items())
    rows = ((metric, mean, *(_cell(run, metric) for run in runs)) for metric, mean in means)
    header = ("metric", *(run.baseline.name or "" for run in comparisons), name or "this run")
    title = "compared: means, and by how much each run is better than the first"
    display.table(header, rows, title, right=range(1, len(header)))


def _cell(run: Comparison, metric: str) -> str:
    if metric not in run.differences:
        return "not measured"
    difference = run.differences[metric]
    mean = 100 * (run.means[metric] + difference.mean)
    return f"{mean:.1f}\n" + difference.percent().replace(", ", "\n")
